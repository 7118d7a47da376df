use std::cell::RefCell;

use super::*;

fn insert(table: &mut Table, fd: RawFd, head: Option<Instant>, whole: Option<Instant>) -> usize {
    table.insert(fd, Of::default(), head, whole, Instant::now())
}

/// What a look at this moment ends, and when the next one is.
fn look(table: &mut Table, now: Instant) -> (Vec<RawFd>, Option<Instant>) {
    let ended = RefCell::new(Vec::new());
    let next = table.look(now, |fd| ended.borrow_mut().push(fd));
    (ended.into_inner(), next)
}

#[test]
fn what_is_overdue_is_ended_once_and_the_next_look_is_at_the_earliest_deadline_left() {
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let mut table = Table::default();
    let late = insert(&mut table, 7, Some(at(1)), Some(at(9)));
    let whole = insert(&mut table, 8, None, Some(at(1)));
    insert(&mut table, 9, Some(at(5)), Some(at(3)));
    assert_eq!(look(&mut table, now), (vec![], Some(at(1))));
    assert_eq!(look(&mut table, at(1)), (vec![7, 8], Some(at(3))));
    assert_eq!(table.slots[late].overdue, Some(Overdue::Head));
    assert_eq!(table.slots[whole].overdue, Some(Overdue::Whole));
    assert_eq!(look(&mut table, at(2)), (vec![], Some(at(3))));
    assert_eq!(look(&mut table, at(9)), (vec![9], None));
}

#[test]
fn a_response_may_be_silent_for_as_long_as_told_and_its_clients_time_is_no_silence() {
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let mut table = Table::default();
    let place = insert(&mut table, 7, None, Some(at(90)));
    let slot = &mut table.slots[place];
    (slot.silence, slot.heard) = (Some(Duration::from_secs(3)), now);
    assert_eq!(look(&mut table, at(2)), (vec![], Some(at(3))));
    table.slots[place].hear(at(2));
    assert_eq!(look(&mut table, at(4)), (vec![], Some(at(5))));
    table.slots[place].hold(at(4));
    assert_eq!(look(&mut table, at(20)), (vec![], None));
    table.slots[place].release(at(20));
    assert_eq!(look(&mut table, at(22)), (vec![], Some(at(23))));
    assert_eq!(look(&mut table, at(23)), (vec![7], None));
    assert_eq!(table.slots[place].overdue, Some(Overdue::Silence));
    // Whoever has the place next is limited by nothing of it.
    table.remove(place);
    insert(&mut table, 8, None, None);
    assert_eq!(look(&mut table, at(99)), (vec![], None));
}

#[test]
fn a_place_is_used_again_and_what_was_removed_is_never_ended() {
    let now = Instant::now();
    let mut table = Table::default();
    let first = insert(&mut table, 7, Some(now), None);
    table.remove(first);
    assert_eq!(look(&mut table, now), (vec![], None));
    assert_eq!(insert(&mut table, 8, Some(now), None), first);
    assert_eq!(look(&mut table, now), (vec![8], None));
}

#[test]
fn while_the_client_holds_something_the_limit_of_the_whole_stands_still_and_that_of_the_head_does_not() {
    let now = Instant::now();
    let at = |seconds| now + Duration::from_secs(seconds);
    let mut table = Table::default();
    let place = insert(&mut table, 7, None, Some(at(2)));
    insert(&mut table, 8, Some(at(2)), None);
    // It has two things for four seconds, and then one more for another one.
    table.slots[place].hold(at(1));
    table.slots[place].hold(at(2));
    table.slots[1].hold(at(1));
    assert_eq!(look(&mut table, at(3)), (vec![8], None));
    table.slots[place].release(at(4));
    assert_eq!(look(&mut table, at(4)), (vec![], None));
    table.slots[place].release(at(5));
    assert_eq!(look(&mut table, at(5)), (vec![], Some(at(6))));
    table.slots[place].hold(at(5));
    table.slots[place].release(at(6));
    assert_eq!(look(&mut table, at(6)), (vec![], Some(at(7))));
    assert_eq!(table.slots[place].heard, at(6));
    assert_eq!(look(&mut table, at(7)), (vec![7], None));
}

#[test]
fn a_client_that_keeps_a_piece_for_a_second_has_stopped_the_endpoint() {
    let began = Instant::now();
    let at = |millis| began + Duration::from_millis(millis);
    let stalled = |events: &[(u64, char)]| {
        let mut table = Table::default();
        let place = table.insert(7, Of::default(), None, None, began);
        let slot = &mut table.slots[place];
        for (millis, event) in events {
            match event {
                '+' => slot.hold(at(*millis)),
                '-' => slot.release(at(*millis)),
                _ => slot.hear(at(*millis)),
            }
        }
        slot.hear(at(5_000));
        slot.stalled
    };
    assert!(stalled(&[(0, '+'), (1_000, '-')]) && stalled(&[(4_000, '+')]));
    // Little by little, all between two pieces; or once, and never again.
    assert!(stalled(&[(0, '+'), (600, '-'), (700, '+'), (1_100, '-'), (1_200, '.')]));
    assert!(stalled(&[(0, '+'), (1_000, '-'), (1_100, '.'), (1_200, '+'), (1_300, '-'), (1_400, '.')]));
    // It always has something, and the pieces flow. Or the endpoint was slow.
    assert!(!stalled(&[(0, '+'), (900, '.'), (900, '+'), (1_000, '-'), (1_800, '.'), (1_800, '-')]));
    assert!(!stalled(&[(0, '+'), (900, '-')]) && !stalled(&[]));
}

#[tokio::test]
async fn a_hold_that_outlives_its_request_holds_up_no_other() {
    let deadlines = Deadlines::default();
    let due = Instant::now() + Duration::from_secs(3600);
    let first = deadlines.begin(-1, Of::default(), None, Some(due), Instant::now());
    let holder = first.holder();
    let hold = holder.hold();
    drop(first);
    let second = deadlines.begin(-1, Of::default(), None, Some(due), Instant::now());
    assert_eq!(second.slot().due(), Some(due));
    let late = holder.hold();
    assert_eq!(second.slot().due(), Some(due));
    drop((hold, late));
    assert_eq!((second.slot().due(), second.slot().holds), (Some(due), 0));
}

#[tokio::test]
async fn a_later_deadline_that_is_brought_forward_is_kept() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let theirs = tokio::net::UnixStream::from_std(theirs).unwrap();
    let deadlines = Deadlines::default();
    let now = Instant::now();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&ours);
    let deadline = deadlines.begin(fd, Of::default(), Some(now + Duration::from_secs(3600)), None, now);
    tokio::task::yield_now().await;
    deadline.set_head(Some(now));
    // The other end finds the connection shut down.
    tokio::time::timeout(Duration::from_secs(10), theirs.readable()).await.unwrap().unwrap();
    assert_eq!(deadline.overdue(), Some(Overdue::Head));
}
