//! Floods of each kind, and honest traffic that is none however much there is of it.

use super::*;
use proptest::prelude::*;

const LIMITS: FrameLimits = FrameLimits { resets: 20, glitches: 30 };

fn frame(kind: u8, flags: u8, stream: u32, payload: usize) -> Vec<u8> {
    let length = u32::try_from(payload).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(vec![0; payload]);
    frame
}

/// A connection whose preface and settings have been read and written.
fn begun() -> FrameWatch {
    let mut watch = FrameWatch::new(LIMITS);
    let first = [&[b'P'; 24][..], &frame(SETTINGS, 0, 0, 6), &frame(SETTINGS, 1, 0, 0)].concat();
    watch.read(&first, 0).unwrap();
    watch.wrote(&frame(SETTINGS, 0, 0, 18), 0).unwrap();
    watch
}

const SETTINGS: u8 = 0x4;

/// How many of such frames within a second are a flood, and of what.
fn flood_of(kind: u8, flags: u8, payload: usize) -> (u32, Flood) {
    let mut watch = begun();
    for count in 1..1_000 {
        if let Err(flood) = watch.read(&frame(kind, flags, 1, payload), 5) {
            return (count, flood);
        }
    }
    panic!("frames of kind {kind} are no flood");
}

#[test]
fn each_kind_of_flood_is_seen_at_its_limit() {
    assert_eq!(flood_of(RESET, 0, 4), (21, Flood::Resets));
    // Two settings frames have been counted; a few windows may be opened before anything flows.
    assert_eq!(flood_of(SETTINGS, 0, 0), (29, Flood::Glitches));
    assert_eq!(flood_of(PING, 0, 8), (29, Flood::Glitches));
    assert_eq!(flood_of(PRIORITY, 0, 5), (29, Flood::Glitches));
    assert_eq!(flood_of(CONTINUATION, 0, 1), (29, Flood::Glitches));
    assert_eq!(flood_of(DATA, 0, 0), (29, Flood::Glitches));
    assert_eq!(flood_of(WINDOW_UPDATE, 0, 4), (33, Flood::Glitches));
    assert_eq!(flood_of(0xfa, 0, 20_000), (29, Flood::Glitches));
}

#[test]
fn streams_that_we_are_made_to_reset_count_as_those_that_the_client_resets() {
    let mut watch = begun();
    for _ in 0..10 {
        watch.read(&frame(RESET, 0, 1, 4), 0).unwrap();
        watch.wrote(&frame(RESET, 0, 1, 4), 0).unwrap();
    }
    assert_eq!(watch.wrote(&frame(RESET, 0, 1, 4), 0), Err(Flood::Resets));
}

#[test]
fn what_was_longer_than_ten_seconds_ago_is_forgotten() {
    let mut watch = begun();
    for second in 0..100 {
        // Two a second are just within the limit of twenty in ten.
        watch.read(&frame(RESET, 0, 1, 4), second * 1000).unwrap();
        watch.read(&frame(RESET, 0, 1, 4), second * 1000 + 999).unwrap();
    }
    assert_eq!(watch.read(&frame(RESET, 0, 1, 4), 99_999), Err(Flood::Resets));
    let mut watch = begun();
    for _ in 0..20 {
        watch.read(&frame(RESET, 0, 1, 4), 5).unwrap();
    }
    assert_eq!(watch.read(&frame(RESET, 0, 1, 4), u64::MAX), Ok(()), "a clock may jump");
    assert_eq!(watch.read(&frame(RESET, 0, 1, 4), 0), Ok(()), "in either direction");
}

#[test]
fn a_farewell_is_said_between_frames_alone_and_names_the_last_stream() {
    let mut watch = begun();
    watch.read(&frame(HEADERS, 0, 7, 100), 0).unwrap();
    assert_eq!(watch.farewell(), Some([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 11]));
    watch.wrote(&frame(DATA, 0, 7, 100)[..50], 0).unwrap();
    assert_eq!(watch.farewell(), None);
}

/// What an honest client and we do to each other.
#[derive(Debug, Clone)]
enum Turn {
    Upload(u8),
    Download(u8),
    Call,
    BandwidthPing,
    Prioritise,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        (1u8..50).prop_map(Turn::Upload),
        (1u8..50).prop_map(Turn::Download),
        Just(Turn::Call),
        Just(Turn::BandwidthPing),
        Just(Turn::Prioritise),
    ];
    prop::collection::vec(turn, 1..300)
}

/// The bytes of a turn, as they are read and written.
fn bytes(turn: &Turn, data_flowed: &mut bool) -> (Vec<u8>, Vec<u8>) {
    let flowed = std::mem::replace(data_flowed, !matches!(turn, Turn::BandwidthPing));
    let many = |frame: Vec<u8>, count: u8| frame.repeat(usize::from(count));
    match turn {
        Turn::Upload(count) => {
            (many(frame(DATA, 0, 1, 1000), *count), many(frame(WINDOW_UPDATE, 0, 1, 4), count.saturating_mul(2)))
        }
        // Each piece of data is acknowledged on its stream and on the connection.
        Turn::Download(count) => {
            (many(frame(WINDOW_UPDATE, 0, 1, 4), count.saturating_mul(2)), many(frame(DATA, 0, 1, 1000), *count))
        }
        Turn::Call => {
            let request = [frame(HEADERS, 4, 1, 50), frame(DATA, 0, 1, 20), frame(DATA, END_STREAM, 1, 0)].concat();
            (request, [frame(HEADERS, 4, 1, 50), frame(DATA, 0, 1, 20), frame(HEADERS, 5, 1, 10)].concat())
        }
        // gRPC asks for one round trip at a time, and only when data has come.
        Turn::BandwidthPing if !flowed => (Vec::new(), Vec::new()),
        Turn::BandwidthPing => (frame(PING, 0, 0, 8), frame(PING, 1, 0, 8)),
        Turn::Prioritise => ([frame(HEADERS, 0, 1, 9), frame(PRIORITY, 0, 1, 5)].concat(), Vec::new()),
    }
}

proptest! {
    #[test]
    fn honest_traffic_is_never_a_flood(turns in turns(), cut in 1usize..5000) {
        let mut watch = begun();
        let mut flowed = false;
        for turn in &turns {
            let (read, written) = bytes(turn, &mut flowed);
            // What we write leads to what they send: windows are given back for data that has come.
            for piece in written.chunks(cut) {
                prop_assert_eq!(watch.wrote(piece, 0), Ok(()));
            }
            for piece in read.chunks(cut) {
                prop_assert_eq!(watch.read(piece, 0), Ok(()));
            }
        }
    }

    #[test]
    fn however_frames_are_cut_the_verdict_is_the_same(bytes in prop::collection::vec(0u8..11, 0..4000), cut in 1usize..70) {
        let mut whole = FrameWatch::new(LIMITS);
        let mut pieces = FrameWatch::new(LIMITS);
        let all = whole.read(&bytes, 0);
        let cut = bytes.chunks(cut).try_for_each(|piece| pieces.read(piece, 0));
        prop_assert_eq!(cut, all);
    }
}

#[test]
fn a_flood_of_a_hop_that_speaks_for_many_is_told_before_it_is_an_error() {
    let mut watch = FrameWatch::new(LIMITS).warning();
    watch.read(&[0; 24], 0).unwrap();
    let reset = [0, 0, 4, RESET, 0, 0, 0, 0, 1, 0, 0, 0, 8];
    for count in 1..=2 * LIMITS.resets {
        watch.read(&reset, 0).unwrap();
        let warned = watch.take_warning();
        assert_eq!(warned, (count == LIMITS.resets + 1).then_some(Flood::Resets), "{count}");
    }
    assert_eq!(watch.read(&reset, 0), Err(Flood::Resets), "it goes on");
}
