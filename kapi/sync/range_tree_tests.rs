// SPDX-License-Identifier: GPL-2.0-only

//! Compares trees of ranges with a model that has a place for each range.

use kernel::prelude::*;

#[kunit_tests(iommufd_rs_range_tree)]
mod tests {
    use kernel::{
        prelude::*,
        sync::{
            atomic::{
                ordering::Relaxed,
                Atomic, //
            },
            Arc, //
        }, //
    };

    use crate::kapi::{
        sync::range_tree::{
            Cursor,
            CursorMut,
            RangeTree,
            Reservation, //
        },
        units::{
            IovaRange,
            IovaUnit, //
        }, //
    };

    type Tree = RangeTree<IovaUnit, u64>;

    /// The number of places where a range can begin. Ranges are at most `STEP` long.
    const PLACES: u64 = 512;
    const STEP: u64 = 8;

    /// What the weight of the range at each place depends on beside the range before it, or `None`
    /// if there is no range.
    type Model = KVec<Option<u64>>;

    /// A generator of numbers that are the same in each run.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1);
            (self.0 >> 33) % limit
        }
    }

    fn range_at(place: u64) -> Result<IovaRange> {
        IovaRange::from_len(place * STEP, 1 + place % STEP)
    }

    /// Returns the weight of a range.
    fn weigh(model: &Model, prev: Option<IovaRange>, range: IovaRange) -> u64 {
        let own = model.get((range.start() / STEP) as usize);
        let own = own.and_then(|own| *own).unwrap_or(u64::MAX);
        (range.start() - prev.map_or(0, |prev| prev.last())).wrapping_add(own) % 20
    }

    /// Checks that `heaviest` of each node is right or unknown, and then unknown above it too, and
    /// returns it with the number of nodes.
    fn check_node(node: Option<Cursor<'_, IovaUnit, u64>>) -> Result<(Option<u64>, usize)> {
        let Some(node) = node else {
            return Ok((Some(0), 0));
        };
        let (left, right) = (check_node(node.left())?, check_node(node.right())?);
        let known = |heaviest| (heaviest != u64::MAX).then_some(heaviest);
        let heaviest = known(node.heaviest());
        if let Some(heaviest) = heaviest {
            let below = left.0.zip(right.0).map(|(left, right)| left.max(right));
            let most = known(node.weight()).zip(below).map(|(a, b)| a.max(b));
            assert_eq!(Some(heaviest), most);
        }
        Ok((heaviest, left.1 + right.1 + 1))
    }

    /// Compares the tree with the model.
    fn compare(tree: &mut Tree, model: &Model, numbers: &mut Numbers) -> Result {
        let here = || {
            let mut prev = None;
            let there = model.iter().zip(0..);
            there.filter_map(move |(own, place)| {
                (*own)?;
                let range = range_at(place).ok()?;
                let weight = weigh(model, prev.replace(range), range);
                Some((place, weight))
            })
        };
        assert_eq!(check_node(tree.top())?.1, here().count());
        if numbers.below(2) == 0 {
            let mut times = 0;
            while !tree.weigh_some(3, |prev, range| weigh(model, prev, range)) {
                check_node(tree.top())?;
                times += 1;
                assert!(times <= here().count() / 3);
            }
        }
        let tree = tree.weigh(|prev, range| weigh(model, prev, range));
        let (heaviest, count) = check_node(tree.top())?;
        let most = here().map(|(_, weight)| weight).max();
        assert_eq!((heaviest, count), (most.or(Some(0)), here().count()));
        assert_eq!(
            tree.last().map(|node| *node.value()),
            here().last().map(|(place, _)| place)
        );

        let mut next = tree.seek(0);
        for (place, weight) in here() {
            let node = next.ok_or(EINVAL)?;
            assert_eq!((*node.value(), node.weight()), (place, weight));
            assert_eq!(node.range(), range_at(place)?);
            next = node.next();
        }
        assert!(next.is_none());
        for _ in 0..8 {
            let (at, until) = (numbers.below(PLACES * STEP), numbers.below(PLACES * STEP));
            let weight = numbers.below(20);
            let ends_behind = |place: u64| place * STEP + place % STEP >= at;
            let mut behind = here().filter(|(place, _)| ends_behind(*place));
            let found = tree.seek(at).map(|node| *node.value());
            assert_eq!(found, behind.clone().next().map(|(place, _)| place));
            let found = tree.first_heavy(at, weight).map(|node| *node.value());
            assert_eq!(
                found,
                behind.find(|(_, w)| *w >= weight).map(|(place, _)| place)
            );
            // Of few ranges each one counts, those that begin with `after` and `until` too.
            let near = at - at % STEP;
            for (after, until) in [(at, until), (near, near + numbers.below(5) * STEP)] {
                let inside = |place: u64| after < place * STEP && place * STEP <= until;
                let inside = here().filter(|(place, _)| inside(*place));
                let most = inside.map(|(_, weight)| weight).max().unwrap_or(0);
                assert_eq!(tree.heaviest(after, until), most);
            }
        }
        Ok(())
    }

    #[test]
    fn a_tree_does_what_its_model_does() -> Result {
        let mut numbers = Numbers(7);
        let mut tree = Tree::new();
        let mut model = Model::new();
        for _ in 0..PLACES {
            model.push(None, GFP_KERNEL)?;
        }
        for step in 0..4000 {
            let place = numbers.below(PLACES);
            let range = range_at(place)?;
            let there = model.get_mut(place as usize).ok_or(EINVAL)?;
            // The tree fills up and becomes empty again, several times.
            let fills = (step / 500) % 2 == 0;
            match there {
                None if fills || numbers.below(4) == 0 => {
                    let memory = Reservation::new(GFP_KERNEL)?;
                    tree.insert(memory, range, place).map_err(|_| EEXIST)?;
                    *there = Some(numbers.below(20));
                }
                Some(_) if !fills || numbers.below(4) == 0 => {
                    let node = tree.seek_mut(range.last()).ok_or(ENOENT)?;
                    assert_eq!(node.remove(), place);
                    *there = None;
                }
                Some(own) => {
                    *own = numbers.below(20);
                    let mut node = tree.seek_mut(range.start()).ok_or(ENOENT)?;
                    node.forget_weight();
                    let memory = Reservation::new(GFP_KERNEL)?;
                    assert!(tree.insert(memory, range, 0).is_err());
                }
                None => {}
            }
            // What is sought now is remembered for the next steps.
            if numbers.below(4) == 0 {
                let at = numbers.below(PLACES * STEP);
                let found = tree.seek_mut(at).map(|node| node.range());
                let mut behind = (0..PLACES).filter_map(|place| {
                    let there = *model.get(place as usize)?;
                    there.and(range_at(place).ok())
                });
                assert_eq!(found, behind.find(|range| range.last() >= at));
                let last = (0..PLACES).rev().find_map(|place| {
                    let there = *model.get(place as usize)?;
                    there.and(range_at(place).ok())
                });
                assert_eq!(tree.last().map(Cursor::range), last);
            }
            // Weights are computed after one change and after many.
            if step % 50 == 0 || step % 50 == 1 || step % 1000 > 900 {
                compare(&mut tree, &model, &mut numbers)?;
            }
        }
        Ok(())
    }

    #[test]
    fn a_start_stays_behind_the_range_before() -> Result {
        let mut tree = Tree::new();
        for (start, last) in [(10, 19), (30, 39)] {
            let memory = Reservation::new(GFP_KERNEL)?;
            let range = IovaRange::new(start, last).ok_or(EINVAL)?;
            tree.insert(memory, range, 0).map_err(|_| EEXIST)?;
        }
        let mut node = tree.seek_mut(30).ok_or(ENOENT)?;
        for (start, done) in [(19, false), (20, true), (39, true), (40, false), (25, true)] {
            assert_eq!(node.set_start(start), done);
        }
        assert_eq!(Some(node.range()), IovaRange::new(25, 39));
        assert_eq!(
            node.as_ref().prev().map(|node| node.range().last()),
            Some(19)
        );
        Ok(())
    }

    /// Counts how often it is dropped.
    struct Counted(Arc<Atomic<i32>>);

    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn each_value_is_dropped_once() -> Result {
        let dropped = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let mut tree = RangeTree::<IovaUnit, Counted>::new();
        for place in 0..100 {
            let memory = Reservation::new(GFP_KERNEL)?;
            let node = tree.insert(memory, IovaRange::at(place), Counted(dropped.clone()));
            assert!(node.is_ok());
        }
        drop(tree.seek_mut(50).map(CursorMut::remove));
        assert_eq!(dropped.load(Relaxed), 1);
        drop(tree);
        assert_eq!(dropped.load(Relaxed), 100);
        Ok(())
    }
}
