//! Where the frames of a WebSocket begin and end (RFC 6455, section 5.2), in one direction. Nothing of them is kept but
//! how much of the present one is to come.

/// The shortest head of a frame: its kind, and its length or how that is written.
const SHORTEST: usize = 2;
/// The longest head, without the mask.
const LONGEST: usize = 10;
/// A mask, which goes before what is masked.
const MASK: u64 = 4;
/// The most that a control frame holds.
const MOST_CONTROL: u64 = 125;
const CLOSE: u8 = 8;

/// What goes by in one direction. Pure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frames {
    /// Clients mask what they send, endpoints do not.
    masks: bool,
    part: Part,
    has_closed: bool,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    /// So many bytes of a head; none between two frames.
    Head { bytes: [u8; LONGEST], count: usize },
    /// So many bytes are to come.
    Rest { left: u64, is_close: bool },
    /// What came was no frame.
    Lost,
}

const BETWEEN: Part = Part::Head { bytes: [0; LONGEST], count: 0 };

impl Frames {
    pub(super) const fn of_client() -> Self {
        Self { masks: true, part: BETWEEN, has_closed: false }
    }

    pub(super) const fn of_endpoint() -> Self {
        Self { masks: false, part: BETWEEN, has_closed: false }
    }

    /// Whether the last frame is over, and no other has begun.
    pub(super) const fn is_between(&self) -> bool {
        matches!(self.part, Part::Head { count: 0, .. })
    }

    /// Whether a close frame has gone by. No frame may follow it.
    pub(super) const fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Whether what went by was not made of frames.
    pub(super) const fn is_lost(&self) -> bool {
        matches!(self.part, Part::Lost)
    }

    /// How many of these bytes belong to the frame under way; none between two frames.
    pub(super) fn rest(&self, bytes: &[u8]) -> usize {
        if self.is_between() { 0 } else { Self::clone(self).step(bytes) }
    }

    /// These bytes go by.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.step(bytes)..];
        }
    }

    /// Takes as many of these bytes as belong to one frame, and says how many. At least one where there is one.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            match &mut self.part {
                Part::Lost => return bytes.len(),
                Part::Rest { left, is_close } => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - used);
                    used += count;
                    *left -= count as u64;
                    if *left == 0 {
                        self.has_closed |= *is_close;
                        self.part = BETWEEN;
                        return used;
                    }
                }
                Part::Head { bytes: head, count } => {
                    head[*count] = bytes[used];
                    (used, *count) = (used + 1, *count + 1);
                    let (head, count) = (*head, *count);
                    self.head(&head[..count]);
                    if self.is_between() {
                        return used;
                    }
                }
            }
        }
        used
    }

    /// So much of a head is there.
    fn head(&mut self, head: &[u8]) {
        let [kind, length, long @ ..] = head else { return };
        let needed = match length & 0x7f {
            126 => SHORTEST + 2,
            127 => SHORTEST + 8,
            _ => SHORTEST,
        };
        if head.len() < needed {
            return;
        }
        let written = match length & 0x7f {
            126 | 127 => long.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
            short => u64::from(short),
        };
        let (opcode, is_whole, is_masked) = (kind & 0x0f, kind & 0x80 != 0, length & 0x80 != 0);
        let is_control = opcode >= CLOSE;
        let is_known = matches!(opcode, 0..=2 | 8..=10) && is_masked == self.masks && written >> 63 == 0;
        self.part = if !is_known || is_control && (!is_whole || written > MOST_CONTROL) {
            Part::Lost
        } else {
            let left = written + if self.masks { MASK } else { 0 };
            if left == 0 {
                self.has_closed |= opcode == CLOSE;
                BETWEEN
            } else {
                Part::Rest { left, is_close: opcode == CLOSE }
            }
        };
    }
}

/// A close frame: a code, and in a few words why (at most 123 bytes), masked where a mask is given.
pub(super) fn close(code: u16, why: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let said = [&code.to_be_bytes()[..], why].concat();
    let flag = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x80 | CLOSE, flag | said.len() as u8];
    frame.extend(mask.iter().flatten());
    let masks = mask.unwrap_or_default().into_iter().cycle();
    frame.extend(said.iter().zip(masks).map(|(byte, mask)| byte ^ mask));
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};
    use tokio_tungstenite::tungstenite::protocol::frame::{Frame, FrameHeader};

    /// A frame as a library writes it.
    fn written(opcode: OpCode, payload: Vec<u8>, is_final: bool, masks: bool) -> Vec<u8> {
        let mask = masks.then_some([1, 2, 3, 4]);
        let head = FrameHeader { opcode, is_final, mask, ..FrameHeader::default() };
        let mut bytes = Vec::new();
        Frame::from_payload(head, payload.into()).format(&mut bytes).unwrap();
        bytes
    }

    fn frames(masks: bool) -> Frames {
        if masks { Frames::of_client() } else { Frames::of_endpoint() }
    }

    /// Kinds and lengths of frames, with control frames between the fragments of messages.
    fn sent() -> impl Strategy<Value = Vec<(OpCode, usize, bool)>> {
        let lengths = prop_oneof![0..4_usize, 120..130_usize, 65_530..65_540_usize];
        let data = (prop_oneof![Just(Data::Text), Just(Data::Binary), Just(Data::Continue)], lengths, any::<bool>());
        let data = data.prop_map(|(kind, length, is_final)| (OpCode::Data(kind), length, is_final));
        let control = (prop_oneof![Just(Control::Ping), Just(Control::Pong)], 0..126_usize);
        let control = control.prop_map(|(kind, length)| (OpCode::Control(kind), length, true));
        proptest::collection::vec(prop_oneof![data, control], 1..6)
    }

    proptest! {
        #[test]
        fn boundaries_are_found_however_the_bytes_are_cut(
            sent in sent(),
            masks in any::<bool>(),
            cut in 1..2_000_usize,
        ) {
            let frames_sent: Vec<_> =
                sent.iter().map(|(kind, length, last)| written(*kind, vec![7; *length], *last, masks)).collect();
            let bytes = frames_sent.concat();
            let mut ends = vec![0];
            ends.extend(frames_sent.iter().scan(0, |at, frame| { *at += frame.len(); Some(*at) }));
            let mut tracker = frames(masks);
            let mut at = 0;
            for piece in bytes.chunks(cut) {
                prop_assert_eq!(tracker.is_between(), ends.contains(&at));
                let rest = tracker.rest(piece);
                let next_end = ends.iter().find(|end| **end >= at).unwrap();
                prop_assert_eq!(rest, (next_end - at).min(piece.len()));
                tracker.pass(piece);
                at += piece.len();
            }
            prop_assert!(tracker.is_between() && !tracker.has_closed() && !tracker.is_lost());
        }

        #[test]
        fn no_bytes_lead_to_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), masks in any::<bool>()) {
            let mut tracker = frames(masks);
            tracker.pass(&bytes);
            prop_assert!(tracker.rest(&bytes) <= bytes.len());
        }
    }

    #[test]
    fn a_close_frame_is_seen_once_it_is_over() {
        for masks in [true, false] {
            let mask = masks.then_some([9, 8, 7, 6]);
            let frame = close(1001, b"leaving", mask);
            let mut tracker = frames(masks);
            for (place, byte) in frame.iter().enumerate() {
                assert!(!tracker.has_closed(), "after {place} bytes");
                tracker.pass(&[*byte]);
            }
            assert!(tracker.has_closed() && tracker.is_between());
            // One that says nothing.
            let mut tracker = frames(masks);
            tracker.pass(&written(OpCode::Control(Control::Close), vec![], true, masks));
            assert!(tracker.has_closed() && tracker.is_between());
        }
    }

    #[test]
    fn what_is_no_frame_is_known_for_none() {
        let lost = |masks, bytes: &[u8]| {
            let mut tracker = frames(masks);
            tracker.pass(bytes);
            tracker.is_lost()
        };
        assert!(lost(false, b"HTTP/1.1 200 OK\r\n"));
        assert!(lost(false, &[0x83, 0]) && lost(false, &[0x8b, 0]), "kinds that do not exist");
        assert!(lost(true, &[0x81, 1]) && lost(false, &[0x81, 0x81]), "masked as it should not be");
        assert!(lost(false, &[0x09, 0]), "a control frame in fragments");
        assert!(lost(false, &[0x89, 126, 0, 126]), "a control frame that is too long");
        assert!(lost(false, &[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), "a length below zero");
        assert!(!lost(false, &[0xc1, 0]), "an extension's flag says nothing of the length");
    }
}
