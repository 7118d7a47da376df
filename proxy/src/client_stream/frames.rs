//! Floods of HTTP/2 frames that cost us work and their sender nothing, found in the headers of the frames.
//!
//! Watched in both directions: a stream that the client resets as it opens it (rapid reset, CVE-2023-44487) shows in
//! what is read, one that it makes us reset (MadeYouReset, CVE-2025-8671) in what is written. What serves real traffic
//! is no flood however much there is of it: a client gives windows back in proportion to the data that we
//! send and that it sends, and asks for a round trip (PING) as long as data flows, as gRPC does to learn the bandwidth.
//!
//! Pure: bytes and milliseconds in, a verdict out, however the bytes are cut. Nothing is copied or allocated.

/// How much an HTTP/2 connection may do within ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Streams that are reset, by either side.
    pub resets: u32,
    /// Frames that carry nothing.
    pub glitches: u32,
}

impl Default for FrameLimits {
    /// 200 and 2 000.
    fn default() -> Self {
        Self { resets: 200, glitches: 2_000 }
    }
}

/// What there was too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Streams that were reset.
    Resets,
    /// Frames that carry nothing.
    Glitches,
}

/// Watches the frames of one connection.
#[derive(Debug)]
pub struct FrameWatch {
    limits: FrameLimits,
    read: Cutter,
    written: Cutter,
    resets: Recent,
    glitches: Recent,
    /// How many WINDOW_UPDATEs, PINGs, CONTINUATIONs and priorities are due to what has flowed.
    updates: u32,
    pings: u32,
    continuations: u32,
    priorities: u32,
    /// The client has begun a head, and more of it must come.
    head_is_open: bool,
    /// The highest stream that the client opened, and how many it did.
    last_stream: u32,
    opened: u64,
    /// The first flood is told, and only one of twice as much is an error.
    warns: bool,
    /// What was too much, and is to be told.
    warned: Option<Flood>,
}

impl FrameLimits {
    /// A hop that speaks for many may do a hundred times what one client may.
    #[must_use]
    pub const fn for_many(self) -> Self {
        const MANY: u32 = 100;
        Self { resets: self.resets.saturating_mul(MANY), glitches: self.glitches.saturating_mul(MANY) }
    }
}

impl FrameWatch {
    /// Watches from the connection's first bytes on.
    #[must_use]
    pub fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            // The preface comes before the client's first frame (RFC 9113, section 3.4).
            read: Cutter { skip: 24, ..Cutter::default() },
            written: Cutter::default(),
            resets: Recent::default(),
            glitches: Recent::default(),
            updates: 4,
            pings: 0,
            continuations: 0,
            priorities: 0,
            head_is_open: false,
            last_stream: 0,
            opened: 0,
            warns: false,
            warned: None,
        }
    }

    /// The same, which tells of a flood ([`take_warning`](Self::take_warning)) before it is an error: there is time to let
    /// what is under way end.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.warns = true;
        self
    }

    /// What there was too much of, once, where that is no error yet.
    pub fn take_warning(&mut self) -> Option<Flood> {
        self.warned.take()
    }

    /// The client has sent these bytes, so many milliseconds after an arbitrary moment.
    pub fn read(&mut self, mut bytes: &[u8], now_ms: u64) -> Result<(), Flood> {
        while let Some(frame) = self.read.next(&mut bytes) {
            self.came(frame, now_ms)?;
        }
        Ok(())
    }

    /// These bytes were sent to the client.
    pub fn wrote(&mut self, mut bytes: &[u8], now_ms: u64) -> Result<(), Flood> {
        while let Some(frame) = self.written.next(&mut bytes) {
            match frame.kind {
                DATA if frame.length > 0 => {
                    // A window for the stream and one for the connection.
                    self.updates = self.updates.saturating_add(2);
                    self.pings = self.pings.saturating_add(1);
                }
                HEADERS => self.pings = self.pings.saturating_add(1),
                RESET => self.count_reset(now_ms)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the client is within the head of a request, or within the header of a frame: nothing else that it may say
    /// can be understood before the rest of that.
    #[must_use]
    pub fn awaits_head(&self) -> bool {
        let is_within = self.read.skip > 0 && matches!(self.read.header[3], HEADERS | CONTINUATION);
        self.read.filled > 0 || self.head_is_open || is_within
    }

    /// How many streams the client has opened.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// What ends the connection, where a frame can be written now: GOAWAY with ENHANCE_YOUR_CALM.
    #[must_use]
    pub fn farewell(&self) -> Option<[u8; 17]> {
        if !self.written.is_between_frames() {
            return None;
        }
        let mut frame = [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ENHANCE_YOUR_CALM];
        frame[9..13].copy_from_slice(&self.last_stream.to_be_bytes());
        Some(frame)
    }

    fn came(&mut self, frame: Frame, now_ms: u64) -> Result<(), Flood> {
        if matches!(frame.kind, HEADERS | CONTINUATION) {
            self.head_is_open = frame.flags & END_HEADERS == 0;
        }
        let is_due = match frame.kind {
            DATA if frame.length > 0 => {
                self.pings = self.pings.saturating_add(1);
                // Some give windows back with each message that they send.
                self.updates = self.updates.saturating_add(2);
                true
            }
            // The end of a stream comes once, and may be empty.
            DATA => frame.flags & END_STREAM != 0,
            HEADERS => {
                // Another one on an open stream holds trailers.
                if frame.stream > self.last_stream {
                    self.last_stream = frame.stream;
                    self.opened += 1;
                }
                self.pings = self.pings.saturating_add(1);
                self.updates = self.updates.saturating_add(2);
                self.priorities = self.priorities.saturating_add(2);
                // As many as a list of 64 KiB needs.
                self.continuations = 4;
                true
            }
            RESET => return self.count_reset(now_ms),
            CONTINUATION => take(&mut self.continuations),
            WINDOW_UPDATE => take(&mut self.updates),
            PING => take(&mut self.pings),
            PRIORITY | PRIORITY_UPDATE => take(&mut self.priorities),
            GOAWAY => true,
            // Settings, and what nobody knows.
            _ => false,
        };
        if !is_due && self.glitches.count(now_ms) > self.limits.glitches {
            return self.too_much(Flood::Glitches);
        }
        Ok(())
    }

    fn count_reset(&mut self, now_ms: u64) -> Result<(), Flood> {
        if self.resets.count(now_ms) > self.limits.resets {
            return self.too_much(Flood::Resets);
        }
        Ok(())
    }

    fn too_much(&mut self, flood: Flood) -> Result<(), Flood> {
        if !std::mem::take(&mut self.warns) {
            return Err(flood);
        }
        self.warned = Some(flood);
        let FrameLimits { resets, glitches } = self.limits;
        self.limits = FrameLimits { resets: resets.saturating_mul(2), glitches: glitches.saturating_mul(2) };
        Ok(())
    }
}

fn take(due: &mut u32) -> bool {
    let is_due = *due > 0;
    *due = due.saturating_sub(1);
    is_due
}

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PRIORITY: u8 = 0x2;
const RESET: u8 = 0x3;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
/// RFC 9218, section 7.1.
const PRIORITY_UPDATE: u8 = 0x10;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const ENHANCE_YOUR_CALM: u8 = 0xb;

/// The header of a frame (RFC 9113, section 4.1).
#[derive(Debug, Clone, Copy)]
struct Frame {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Finds the headers of frames in bytes.
#[derive(Debug, Default)]
struct Cutter {
    header: [u8; 9],
    /// How much of the header has been read.
    filled: usize,
    /// Bytes until the next header.
    skip: u32,
}

impl Cutter {
    const fn is_between_frames(&self) -> bool {
        self.filled == 0 && self.skip == 0
    }

    /// The next frame whose header ends in these bytes, which are used up to there.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        *bytes = &bytes[skipped..];
        self.skip -= u32::try_from(skipped).unwrap_or(self.skip);
        let count = (self.header.len() - self.filled).min(bytes.len());
        self.header[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        *bytes = &bytes[count..];
        if self.filled < self.header.len() {
            return None;
        }
        let [a, b, c, kind, flags, stream @ ..] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.filled = 0;
        self.skip = length;
        Some(Frame { length, kind, flags, stream: u32::from_be_bytes(stream) & 0x7fff_ffff })
    }
}

/// A count over the last ten seconds, by the second.
#[derive(Debug, Default)]
struct Recent {
    seconds: [u32; 10],
    latest: u64,
}

impl Recent {
    /// Counts one more, and says how many there were.
    fn count(&mut self, now_ms: u64) -> u32 {
        let now = (now_ms / 1000).max(self.latest);
        let place = |second: u64| usize::try_from(second % 10).unwrap_or(0);
        for second in (self.latest + 1)..=now.min(self.latest.saturating_add(10)) {
            self.seconds[place(second)] = 0;
        }
        self.latest = now;
        let this = &mut self.seconds[place(now)];
        *this = this.saturating_add(1);
        self.seconds.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

#[cfg(test)]
mod tests;
