// SPDX-License-Identifier: GPL-2.0-only

//! Tests of `ioas/membership.rs`: every state that three domains and three areas can come to is
//! compared with a model that keeps for each area the set of domains that have it.

use std::collections::{
    BTreeSet,
    VecDeque, //
};

use crate::ioas::membership::{
    Followed,
    Membership,
    Work, //
};

const DOMAINS: usize = 3;
const AREAS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Create,
    Remove(usize),
    Join(usize),
    Leave(usize),
    Undo,
    /// Fills an area into the domain that changes, or empties it.
    Move(usize),
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Joining(usize),
    Undoing(usize),
    Leaving(usize),
}

struct Area {
    followed: Followed,
    /// The domains that have the area.
    domains: BTreeSet<usize>,
}

struct World {
    members: Membership<usize>,
    areas: Vec<Area>,
    full: BTreeSet<usize>,
    change: Option<Change>,
    /// Those of `full` that leave when the change ends.
    to_leave: BTreeSet<usize>,
}

impl World {
    fn after(steps: &[Step]) -> Self {
        let mut world = Self {
            members: Membership::new(),
            areas: Vec::new(),
            full: BTreeSet::new(),
            change: None,
            to_leave: BTreeSet::new(),
        };
        for step in steps {
            world.take(*step);
            world.check();
        }
        world
    }

    fn behind(&self, area: &Area) -> bool {
        match self.change {
            None => false,
            Some(Change::Joining(domain)) => !area.domains.contains(&domain),
            Some(Change::Undoing(domain) | Change::Leaving(domain)) => {
                area.domains.contains(&domain)
            }
        }
    }

    fn may(&self, step: Step) -> bool {
        let settled = self.change.is_none();
        match step {
            Step::Create => self.areas.len() < AREAS,
            Step::Remove(area) => area < self.areas.len(),
            Step::Join(domain) => settled && !self.full.contains(&domain),
            Step::Leave(domain) => self.full.contains(&domain) && !self.to_leave.contains(&domain),
            Step::Undo => matches!(self.change, Some(Change::Joining(_))),
            Step::Move(area) => self.areas.get(area).is_some_and(|area| self.behind(area)),
            Step::End => !settled && !self.areas.iter().any(|area| self.behind(area)),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Create => {
                let mut domains = self.full.clone();
                if let Some(Change::Joining(domain)) = self.change {
                    domains.insert(domain);
                }
                let followed = self.members.up_to_date();
                self.areas.push(Area { followed, domains });
            }
            Step::Remove(area) => drop(self.areas.remove(area)),
            Step::Join(domain) => {
                self.members.begin_join(domain).unwrap();
                self.change = Some(Change::Joining(domain));
            }
            Step::Leave(domain) => {
                assert!(self.members.leave(|other| *other == domain));
                self.to_leave.insert(domain);
                self.begin_next_leave();
            }
            Step::Undo => {
                let Some(Change::Joining(domain)) = self.change else {
                    unreachable!()
                };
                self.members.begin_undo();
                self.change = Some(Change::Undoing(domain));
            }
            Step::Move(area) => {
                let area = &mut self.areas[area];
                area.followed = self.members.follow();
                match self.change {
                    Some(Change::Joining(domain)) => assert!(area.domains.insert(domain)),
                    Some(Change::Undoing(domain) | Change::Leaving(domain)) => {
                        assert!(area.domains.remove(&domain));
                    }
                    None => unreachable!(),
                }
            }
            Step::End => {
                let gone = self.members.end();
                match self.change.take() {
                    Some(Change::Joining(domain)) => {
                        assert_eq!(gone, None);
                        self.full.insert(domain);
                    }
                    Some(Change::Undoing(domain) | Change::Leaving(domain)) => {
                        assert_eq!(gone, Some(domain));
                    }
                    None => unreachable!(),
                }
                self.begin_next_leave();
            }
        }
    }

    fn begin_next_leave(&mut self) {
        if self.change.is_some() {
            return;
        }
        let mut domains = self.members.iter().copied();
        if let Some(domain) = domains.find(|domain| self.to_leave.contains(domain)) {
            self.to_leave.remove(&domain);
            self.full.remove(&domain);
            self.change = Some(Change::Leaving(domain));
        }
    }

    fn check(&self) {
        let members = &self.members;
        let full: BTreeSet<_> = members.full().copied().collect();
        assert_eq!(full, self.full);
        assert_eq!(members.has_full(), !self.full.is_empty());
        assert_eq!(members.is_settled(), self.change.is_none());
        assert_eq!(
            members.is_empty(),
            self.full.is_empty() && self.change.is_none()
        );
        for area in &self.areas {
            let mut found = BTreeSet::new();
            let mut next = members.next(0, area.followed);
            while let Some(member) = next {
                assert!(found.insert(member.domain));
                next = members.next(member.slot + 1, area.followed);
                assert_eq!(member.more, next.is_some());
            }
            assert_eq!(found, area.domains);
            assert_eq!(members.is_pinned(area.followed), !area.domains.is_empty());
            assert_eq!(members.is_behind(area.followed), self.behind(area));
        }
    }

    /// What decides how the world goes on. The number of a change does not: of two that an area may
    /// have followed, only whether it is the present one.
    fn key(&self) -> impl Ord {
        let slots: Vec<_> = self.members.iter().copied().collect();
        let mut areas: Vec<_> = self
            .areas
            .iter()
            .map(|area| {
                let domains: Vec<_> = area.domains.iter().copied().collect();
                (domains, self.members.is_last(area.followed))
            })
            .collect();
        areas.sort();
        (slots, self.change, self.to_leave.clone(), areas)
    }
}

#[test]
fn every_area_has_the_domains_of_the_model() {
    let mut steps = vec![Step::Create, Step::Undo, Step::End];
    steps.extend((0..AREAS).flat_map(|area| [Step::Remove(area), Step::Move(area)]));
    steps.extend((0..DOMAINS).flat_map(|domain| [Step::Join(domain), Step::Leave(domain)]));

    let mut seen = BTreeSet::new();
    let mut paths = VecDeque::from([Vec::new()]);
    while let Some(path) = paths.pop_front() {
        let world = World::after(&path);
        for step in &steps {
            if !world.may(*step) {
                continue;
            }
            let mut longer = path.clone();
            longer.push(*step);
            if seen.insert(World::after(&longer).key()) {
                paths.push_back(longer);
            }
        }
    }
    assert!(seen.len() > 500, "{} states", seen.len());
}

/// Work on a domain.
fn work(domain: usize, from: u64) -> Work<usize> {
    Work { domain, from }
}

/// The work on a domain that leaves is done by one task at a time, and each domain that is to leave does.
#[test]
fn work_is_done_by_one_task() {
    let mut members = Membership::new();
    for domain in [1, 2] {
        members.begin_join(domain).unwrap();
        assert_eq!(members.take_work(), None);
        members.end();
    }
    assert!(!members.leave(|domain| *domain == 3));
    assert!(members.leave(|domain| *domain == 2));
    assert_eq!(members.take_work(), Some(work(2, 0)));
    // Another one is to leave meanwhile.
    assert!(members.leave(|domain| *domain == 1));
    assert_eq!(members.take_work(), None);
    members.put_work_down(work(2, 7));
    assert_eq!(members.take_work(), Some(work(2, 7)));
    assert_eq!(members.end(), Some(2));
    assert!(members.iter().any(|domain| *domain == 1));
    assert_eq!(members.take_work(), Some(work(1, 0)));
    members.put_work_down(work(1, 7));
    assert_eq!(members.take_work(), Some(work(1, 7)));
    assert_eq!(members.end(), Some(1));
    assert_eq!(members.take_work(), None);
    assert!(members.is_settled() && members.is_empty());

    members.begin_join(4).unwrap();
    members.begin_undo();
    assert_eq!(members.take_work(), Some(work(4, 0)));
    assert_eq!(members.end(), Some(4));
}
