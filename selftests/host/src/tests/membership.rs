// SPDX-License-Identifier: GPL-2.0-only

//! Tests of `ioas/membership.rs`: every state that three domains and a few areas can come to is
//! compared with a model that keeps for each area the set of domains that have it.

use std::collections::{
    BTreeMap,
    BTreeSet,
    VecDeque, //
};

use crate::ioas::membership::{
    Followed,
    Membership, //
};

const DOMAINS: usize = 3;
const AREAS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// A task makes an area, on which it works.
    Create,
    /// A task begins to work on an area.
    Begin(usize),
    /// It cuts it.
    Cut(usize),
    /// It begins to take it out of the domains that leave.
    BeginTakingOut(usize),
    /// It has taken it out of these.
    EndTakingOut(usize),
    /// It lets others work on it.
    Finish(usize),
    /// It removes it.
    Remove(usize),
    Join(usize),
    Leave(usize),
    Undo,
    /// The task that goes through the areas fills or empties this one.
    Move(usize),
    /// That task has come to the end.
    End,
    /// A task drops a domain that no area has any more. Others may have worked since the last area had it.
    LetGo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Joining,
    Full,
    ToLeave,
    Leaving,
    Lingering,
}

#[derive(Clone)]
struct Area {
    followed: Followed,
    /// The domains that have the area.
    domains: BTreeSet<usize>,
    /// A task works on it.
    busy: bool,
    /// The domains that this task takes it out of, and the last change when it began to.
    taking_out: Option<(BTreeSet<usize>, Followed)>,
}

struct World {
    members: Membership<usize>,
    areas: Vec<Area>,
    domains: BTreeMap<usize, Phase>,
}

impl World {
    fn after(steps: &[Step]) -> Self {
        let mut world = Self {
            members: Membership::new(),
            areas: Vec::new(),
            domains: BTreeMap::new(),
        };
        for step in steps {
            world.take(*step);
            if world.gone().is_empty() {
                assert_eq!(world.members.take_gone(), None);
            }
            world.check();
        }
        world
    }

    fn in_phase(&self, phases: &[Phase]) -> BTreeSet<usize> {
        let domains = self.domains.iter();
        let found = domains.filter(|(_, phase)| phases.contains(phase));
        found.map(|(domain, _)| *domain).collect()
    }

    /// Returns the domain that a task fills or empties.
    fn changing(&self) -> Option<usize> {
        let changing = self.in_phase(&[Phase::Joining, Phase::Leaving]);
        assert!(changing.len() <= 1);
        changing.first().copied()
    }

    fn is_joining(&self) -> bool {
        !self.in_phase(&[Phase::Joining]).is_empty()
    }

    fn full(&self) -> BTreeSet<usize> {
        self.in_phase(&[Phase::Full, Phase::ToLeave])
    }

    /// Returns the domains that have an area and leave.
    fn leaving(&self, area: &Area) -> BTreeSet<usize> {
        let leaving = self.in_phase(&[Phase::Leaving, Phase::Lingering]);
        leaving.intersection(&area.domains).copied().collect()
    }

    fn behind(&self, area: &Area) -> bool {
        self.changing()
            .is_some_and(|domain| area.domains.contains(&domain) != self.is_joining())
    }

    fn may(&self, step: Step) -> bool {
        let has_room = self.areas.len() < AREAS;
        let area = |area: usize| self.areas.get(area);
        let idle = |at: usize| area(at).is_some_and(|area| !area.busy);
        let busy = |at: usize| area(at).is_some_and(|area| area.busy && area.taking_out.is_none());
        match step {
            Step::Create => has_room,
            Step::Begin(at) => idle(at),
            Step::Cut(at) => busy(at) && has_room,
            Step::BeginTakingOut(at) => busy(at) && !self.leaving(&self.areas[at]).is_empty(),
            Step::EndTakingOut(at) => area(at).is_some_and(|area| area.taking_out.is_some()),
            Step::Finish(at) => busy(at) && self.leaving(&self.areas[at]).is_empty(),
            Step::Remove(at) => busy(at),
            Step::Join(domain) => {
                !self.domains.contains_key(&domain)
                    && self.domains.values().all(|phase| *phase == Phase::Full)
            }
            Step::Leave(domain) => self.domains.get(&domain) == Some(&Phase::Full),
            Step::Undo => self.is_joining(),
            Step::Move(at) => idle(at) && self.behind(&self.areas[at]),
            Step::End => {
                let mut behind = self.areas.iter().filter(|area| self.behind(area));
                let passes_over = !self.is_joining();
                self.changing().is_some() && behind.all(|area| area.busy && passes_over)
            }
            Step::LetGo => !self.gone().is_empty(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Create => {
                let domains = self.full().into_iter();
                let domains = domains.chain(self.in_phase(&[Phase::Joining])).collect();
                let followed = self.members.up_to_date();
                self.members.add_area(followed);
                self.areas.push(Area {
                    followed,
                    domains,
                    busy: true,
                    taking_out: None,
                });
            }
            Step::Begin(at) => self.areas[at].busy = true,
            Step::Cut(at) => {
                self.areas.push(self.areas[at].clone());
                self.members.add_area(self.areas[at].followed);
            }
            Step::BeginTakingOut(at) => {
                let leaving = self.leaving(&self.areas[at]);
                self.areas[at].taking_out = Some((leaving, self.members.up_to_date()));
            }
            Step::EndTakingOut(at) => {
                let area = &mut self.areas[at];
                let (leaving, now) = area.taking_out.take().unwrap();
                let next = |slot| self.members.next_leaving(slot, area.followed, now);
                let (mut found, mut member) = (BTreeSet::new(), next(0));
                while let Some(this) = member {
                    assert!(found.insert(this.domain));
                    member = next(this.slot + 1);
                    assert_eq!(this.more, member.is_some());
                }
                assert_eq!(found, leaving);
                area.domains.retain(|domain| !leaving.contains(domain));
                self.members.follow(area.followed, now);
                area.followed = now;
            }
            Step::Finish(at) => self.areas[at].busy = false,
            Step::Remove(at) => self.members.remove_area(self.areas.remove(at).followed),
            Step::Join(domain) => {
                self.members.begin_join(domain).unwrap();
                self.domains.insert(domain, Phase::Joining);
            }
            Step::Leave(domain) => {
                assert!(self.members.leave(|other| *other == domain));
                self.domains.insert(domain, Phase::ToLeave);
                self.take_work();
            }
            Step::Undo => {
                let domain = self.changing().unwrap();
                self.members.begin_undo();
                self.domains.insert(domain, Phase::Leaving);
            }
            Step::Move(at) => {
                let domain = self.changing().unwrap();
                let area = &mut self.areas[at];
                let now = self.members.up_to_date();
                self.members.follow(area.followed, now);
                area.followed = now;
                if !area.domains.remove(&domain) {
                    area.domains.insert(domain);
                }
            }
            Step::End => {
                let domain = self.changing().unwrap();
                let joins = self.is_joining();
                let phase = if joins { Phase::Full } else { Phase::Lingering };
                self.members.end();
                self.domains.insert(domain, phase);
                self.take_work();
            }
            Step::LetGo => {
                let domain = self.members.take_gone().unwrap();
                assert!(self.gone().contains(&domain));
                self.domains.remove(&domain);
            }
        }
    }

    fn take_work(&mut self) {
        let idle = self.changing().is_none();
        let to_leave = self.in_phase(&[Phase::ToLeave]);
        let work = self.members.take_work();
        assert_eq!(work.is_some(), idle && !to_leave.is_empty());
        if let Some(domain) = work {
            assert!(to_leave.contains(&domain));
            self.domains.insert(domain, Phase::Leaving);
        }
    }

    /// Returns the domains that have left, and that no area has any more.
    fn gone(&self) -> BTreeSet<usize> {
        let mut lingering = self.in_phase(&[Phase::Lingering]);
        let has = |domain: &usize| self.areas.iter().any(|area| area.domains.contains(domain));
        lingering.retain(|domain| !has(domain));
        lingering
    }

    fn check(&self) {
        let members = &self.members;
        let full: BTreeSet<_> = members.full().copied().collect();
        assert_eq!(full, self.full());
        assert_eq!(members.has_full(), !full.is_empty());
        let all: BTreeSet<_> = members.iter().copied().collect();
        assert_eq!(all, self.domains.keys().copied().collect());
        assert_eq!(members.is_empty(), self.domains.is_empty());
        assert_eq!(
            members.is_settled(),
            self.domains.values().all(|phase| *phase == Phase::Full)
        );
        assert_eq!(
            members.is_emptying(),
            !self.in_phase(&[Phase::Leaving]).is_empty()
        );
        assert_eq!(members.areas(), self.areas.len() as u64);
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
            let now = members.up_to_date();
            let leaves = members.next_leaving(0, area.followed, now).is_some();
            assert_eq!(leaves, !self.leaving(area).is_empty());
            // Then two areas that are both behind, or both not, are in the same domains.
            let leaving = self.in_phase(&[Phase::Leaving]);
            assert!(area.busy || self.leaving(area).is_subset(&leaving));
        }
    }

    /// What decides how the world goes on. The number of a change does not: of two that an area may
    /// have followed, only whether it is the present one.
    fn key(&self) -> impl Ord {
        let slots: Vec<_> = self.members.iter().copied().collect();
        let last = |followed| self.members.is_last(followed);
        let mut areas: Vec<_> = self
            .areas
            .iter()
            .map(|area| {
                let taking_out = area.taking_out.clone();
                let taking_out = taking_out.map(|(domains, now)| (domains, last(now)));
                let domains = area.domains.clone();
                (domains, last(area.followed), area.busy, taking_out)
            })
            .collect();
        areas.sort();
        (slots, self.domains.clone(), areas)
    }
}

#[test]
fn every_area_has_the_domains_of_the_model() {
    let mut steps = vec![Step::Create, Step::Undo, Step::End, Step::LetGo];
    steps.extend((0..AREAS).flat_map(|area| {
        [
            Step::Begin(area),
            Step::Cut(area),
            Step::BeginTakingOut(area),
            Step::EndTakingOut(area),
            Step::Finish(area),
            Step::Remove(area),
            Step::Move(area),
        ]
    }));
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
    assert!(seen.len() > 5000, "{} states", seen.len());
}

/// One task at a time goes through the areas, and each domain that is to leave does.
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
    assert_eq!(members.take_work(), Some(2));
    // Another one is to leave meanwhile.
    assert!(members.leave(|domain| *domain == 1));
    assert_eq!(members.take_work(), None);
    assert_eq!(members.take_gone(), None);
    members.end();
    assert_eq!(members.take_gone(), Some(2));
    assert_eq!(members.take_work(), Some(1));
    members.end();
    assert_eq!(members.take_gone(), Some(1));
    assert_eq!(members.take_work(), None);
    assert!(members.is_settled() && members.is_empty());

    members.begin_join(4).unwrap();
    members.begin_undo();
    members.end();
    assert_eq!(members.take_gone(), Some(4));
}

/// A domain lingers in an area that another task works on. That keeps no other domain from leaving, whose
/// task goes through the areas itself, and a domain that joins waits.
#[test]
fn others_leave_while_a_domain_lingers() {
    let mut members = Membership::new();
    for domain in [1, 2, 3] {
        members.begin_join(domain).unwrap();
        members.end();
    }
    let mapped = members.up_to_date();
    members.add_area(mapped);
    for domain in [2, 1] {
        assert!(members.leave(|other| *other == domain));
        assert_eq!(members.take_work(), Some(domain));
        members.end();
        assert_eq!(members.take_gone(), None);
    }
    assert!(!members.is_settled());
    let now = members.up_to_date();
    let first = members.next_leaving(0, mapped, now).unwrap();
    assert_eq!((first.domain, first.more), (1, true));
    let second = members.next_leaving(first.slot + 1, mapped, now).unwrap();
    assert_eq!((second.domain, second.more), (2, false));
    members.follow(mapped, now);
    assert!(members.next_leaving(0, now, now).is_none());
    let gone = [members.take_gone(), members.take_gone()];
    assert_eq!(gone, [Some(1), Some(2)]);
    assert!(members.is_settled() && members.has_full());
}

#[test]
#[should_panic(expected = "a warning")]
fn a_change_ends_that_has_not_begun() {
    Membership::<usize>::new().end();
}

#[test]
#[should_panic(expected = "a warning")]
fn a_domain_is_undone_that_does_not_join() {
    let mut members = Membership::new();
    members.begin_join(0).unwrap();
    members.end();
    members.begin_undo();
}
