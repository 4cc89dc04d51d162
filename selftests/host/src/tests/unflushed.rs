// SPDX-License-Identifier: GPL-2.0-only

//! What the mock notices about flushes.

use proptest::{
    prelude::{
        any,
        Strategy, //
    },
    prop_oneof, //
};

use crate::{
    kapi::{
        iommu_driver::unflushed::{
            Mistake,
            Page,
            Unflushed, //
        },
        units::IovaRange, //
    },
    tests::random::{
        for_all,
        steps, //
    }, //
};

fn range(start: u64, last: u64) -> IovaRange {
    IovaRange::new(start, last).expect("it is not empty")
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Unmap {
        task: usize,
        start: u64,
        more: u64,
        pinned: bool,
    },
    /// What the task has unmapped, if that is anything.
    Flush { task: usize },
}

fn any_step() -> impl Strategy<Value = Step> {
    let unmap = (0..5usize, 0..=1u64 << 40, 0..=1u64 << 30, any::<bool>());
    prop_oneof![
        2 => unmap.prop_map(|(task, start, more, pinned)| Step::Unmap {
            task,
            start,
            more,
            pinned
        }),
        1 => (0..5usize).prop_map(|task| Step::Flush { task }),
    ]
}

#[test]
fn tasks_that_flush_all_they_unmapped_make_no_mistake() {
    for_all(500, steps(any_step(), 80), |steps| {
        let mut unflushed = Unflushed::new();
        // What each task has gathered, and the first page of it that is pinned.
        let mut gathered: [Option<(u64, u64, Option<u64>)>; 5] = [None; 5];
        let id = |task: usize| task as i32 + 100;
        for step in steps {
            match step {
                Step::Flush { task } => {
                    if let Some((start, last, page)) = gathered[task].take() {
                        let flushed = unflushed.flushed(id(task), range(start, last));
                        assert_eq!(flushed, Ok(page));
                    }
                }
                Step::Unmap {
                    task,
                    start,
                    more,
                    pinned,
                } => {
                    let last = start + more;
                    let (page, pinned) = if pinned {
                        (Page::Pinned(start << 1), Some(start << 1))
                    } else {
                        (Page::Other, None)
                    };
                    let old = gathered[task];
                    let unmapped = range(start, last);
                    let noted = unflushed.unmapped(id(task), unmapped, page, old.is_none());
                    assert_eq!(noted, Ok(()));
                    let (first, end, before) = old.unwrap_or((start, last, None));
                    gathered[task] = Some((first.min(start), end.max(last), before.or(pinned)));
                }
            }
            assert_eq!(unflushed.is_empty(), gathered.iter().all(Option::is_none));
        }
    });
}

#[test]
fn a_flush_of_less_is_a_mistake() {
    for flushed in [
        range(0x1000, 0x3fff),
        range(0x2000, 0x5fff),
        range(0x9000, 0x9fff),
    ] {
        let mut unflushed = Unflushed::new();
        for part in [range(0x5000, 0x5fff), range(0x1000, 0x1fff)] {
            let begins = unflushed.is_empty();
            assert_eq!(unflushed.unmapped(1, part, Page::Other, begins), Ok(()));
        }
        assert_eq!(unflushed.flushed(1, flushed), Err(Mistake::PartFlushed));
        // It is reported once.
        assert!(unflushed.is_empty());
    }
}

#[test]
fn a_task_that_unmaps_anew_must_have_flushed() {
    let mut unflushed = Unflushed::new();
    let (first, second) = (range(0x1000, 0x1fff), range(0x8000, 0x8fff));
    assert_eq!(unflushed.unmapped(1, first, Page::Pinned(7), true), Ok(()));
    // What another task flushes is not what this one has unmapped.
    assert_eq!(unflushed.flushed(2, IovaRange::ALL), Ok(None));
    assert_eq!(unflushed.unmapped(2, second, Page::Pinned(8), true), Ok(()));
    let noted = unflushed.unmapped(1, second, Page::Pinned(9), true);
    assert_eq!(noted, Err(Mistake::NotFlushed));
    // The second batch is watched as any other.
    assert_eq!(unflushed.flushed(1, second), Ok(Some(9)));
    assert_eq!(unflushed.flushed(2, second), Ok(Some(8)));
    assert!(unflushed.is_empty());
}

#[test]
fn memory_is_pinned_when_it_is_unmapped() {
    let mut unflushed = Unflushed::new();
    let noted = unflushed.unmapped(1, range(0, 0xfff), Page::Loose, true);
    assert_eq!(noted, Err(Mistake::UnpinnedBefore));
    let noted = unflushed.unmapped(1, range(0x1000, 0x1fff), Page::Loose, false);
    assert_eq!(noted, Err(Mistake::UnpinnedBefore));
    assert_eq!(unflushed.flushed(1, range(0, 0x1fff)), Ok(None));
}

#[test]
fn more_tasks_than_there_is_room_for_are_not_watched() {
    let mut unflushed = Unflushed::new();
    let all = range(0, 0xfff);
    for task in 0..100 {
        assert_eq!(unflushed.unmapped(task, all, Page::Pinned(1), true), Ok(()));
    }
    let watched = (0..100).filter(|task| unflushed.flushed(*task, all) == Ok(Some(1)));
    assert_eq!(watched.count(), 16);
    assert!(unflushed.is_empty());
}
