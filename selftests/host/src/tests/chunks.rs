// SPDX-License-Identifier: GPL-2.0-only

//! Lists in chunks.

use kernel::{
    alloc::fault,
    prelude::*, //
};

use crate::kapi::sync::chunks::Chunks;

/// An element of 64 bytes; a chunk holds 32 elements.
type Element = [u64; 8];

fn list(len: u64) -> Result<Chunks<Element>> {
    let mut list = Chunks::new();
    for n in 0..len {
        list.push([n; 8])?;
    }
    Ok(list)
}

#[test]
fn elements_stay_in_order() {
    for len in [0, 1, 2, 3, 32, 33, 34, 64, 65, 66, 1000] {
        let mut list = list(len).expect("nothing fails");
        assert!(list.iter().map(|element| element[7]).eq(0..len));
        list.iter_mut().for_each(|element| element[0] *= 2);
        assert!(list
            .into_iter()
            .map(|element| element[0])
            .eq((0..len).map(|n| n * 2)));
    }
    assert!(Chunks::from(7).into_iter().eq([7]));
}

#[test]
fn no_allocation_is_larger_than_a_chunk() {
    // The first element needs no allocation; the first chunk of 32 elements grows six times; each
    // chunk takes an entry of the outer list, which grows too.
    for (len, allocations) in [
        (0, 0),
        (1, 0),
        (2, 2),
        (3, 3),
        (33, 7),
        (34, 9),
        (65, 9),
        (66, 11),
    ] {
        let before = fault::tried();
        let _list = list(len).expect("nothing fails");
        assert_eq!(fault::tried() - before, allocations, "{len} elements");
        for nth in 0..allocations {
            let (result, failed) = fault::failing(nth, || list(len));
            assert!(failed);
            assert_eq!(result.err(), Some(ENOMEM));
        }
    }
    assert_eq!(size_of::<Element>() * 32, 2048);
}

#[test]
fn large_elements_have_a_chunk_each() {
    let mut list = Chunks::new();
    for n in 0..5 {
        list.push([n; 3000]).expect("nothing fails");
    }
    assert!(list.iter().map(|element| element[0]).eq(0..5));
}
