// SPDX-License-Identifier: GPL-2.0-only

//! Batches while other tasks of the VMM change what they are about.

use kernel::prelude::*;

use crate::tests::amd_vi::{
    batch::{
        pages,
        run,
        Recorder,
        LATE, //
    },
    bits, //
};

/// Another task makes a domain during a batch. Its command is the first one that a full lane has no
/// room for. It is carried out, or the domain is not there yet, but those before it are complete.
#[test]
fn a_domain_appears_between_look_ups() {
    let mut commands: Vec<_> = (0..64).map(|page| pages(7, page * 2)).collect();
    commands.push(pages(u64::from(LATE), 0));
    for iommus in 1..=3 {
        let hosts = |recorder: &Recorder, iommu| -> Vec<_> {
            let given = recorder.submissions(iommu).concat();
            given.iter().map(|words| bits(words, 47, 32)).collect()
        };
        let last = 4 * iommus;
        for after in 0..=last {
            let mut recorder = Recorder::new(iommus);
            recorder.appears_after = after;
            for (iommu, domains) in recorder.domains.iter_mut().enumerate() {
                domains.insert(3, (LATE, 0x1000 * (iommu as u16 + 1) + LATE));
            }
            let result = run(&recorder, &commands, None);
            assert!(
                matches!(
                    (result.done, result.result),
                    (65, Ok(())) | (64, Err(ENOENT))
                ),
                "after {after} look-ups of {iommus} IOMMUs: {result:?}"
            );
            let mut is_given = false;
            for iommu in 0..iommus {
                let host = |guest| 0x1000 * (iommu as u64 + 1) + guest;
                let given = hosts(&recorder, iommu);
                let (before, own) = given.split_at(64);
                assert!(before.iter().all(|id| *id == host(7)));
                assert!(own.is_empty() || own == [host(u64::from(LATE))]);
                is_given |= !own.is_empty();
            }
            assert_eq!(is_given, result.result.is_ok());
            // Some of these numbers of look-ups are before the command's own, and there are never so many
            // as the last one.
            assert!(is_given || after > 0);
            assert!(!is_given || after < last);
        }
    }
}
