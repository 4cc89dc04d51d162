// SPDX-License-Identifier: GPL-2.0-only

//! `/sys/kernel/debug/iommufd_rs`, for root: a folder for each context, by its number, and a switch
//! for measuring how long calls take. `Documentation/tracing.rst` says what is in the files.
//!
//! A reader gets some pieces of a few lines each, which are written while the table of objects is
//! locked and the reader is not preempted. Everything else is read only if it is not locked. So a
//! reader waits for nobody, and others wait for a reader no longer than a piece takes.
//!
//! Folders are made and removed by a workqueue, because removing one waits for its readers; a
//! context that is closed does not wait, nor do the folders of others. What remains for readers of a closed context is a table
//! without objects.

use kernel::{
    prelude::*,
    seq_file::seq_print,
    str::CString,
    sync::{
        atomic::{
            ordering::Relaxed,
            Atomic, //
        },
        Arc,
        SetOnce, //
    }, //
};

use crate::{
    hwpt::HwptPaging,
    ioas::Ioas,
    kapi::{
        bug::warn_on_once,
        file::{
            listing::{
                Dir,
                Listing,
                Piece, //
            },
            switch::{
                Switch,
                SwitchDir, //
            }, //
        },
        latency::{
            self,
            Latencies,
            Timed,
            CLASSES, //
        },
        lines::Lines,
        sync::work_queue::{
            Owner,
            Slow,
            UnboundQueue, //
        }, //
    },
    object::{
        Companion,
        Ctx,
        Kind,
        Object,
        Table, //
    }, //
};

/// The name of the folder of the module.
const TOP: &CStr = c"iommufd_rs";

/// The most contexts that have a folder. Each takes memory that is not the user's.
const MOST_FOLDERS: u32 = 1024;

/// The contexts that have a folder.
static FOLDERS: Atomic<u32> = Atomic::new(0);

/// The folder of the module. Dropping it waits for readers.
pub(crate) struct Top {
    // Field order: the folders of contexts are removed before the one that they are in.
    queue: Arc<UnboundQueue>,
    _dir: SwitchDir,
}

impl Top {
    /// Makes the folder. Returns `ENOMEM`, and the errors of debugfs.
    pub(crate) fn new() -> Result<Self> {
        let dir = SwitchDir::new(TOP)?;
        dir.file::<Timing>(c"timing");
        Ok(Self {
            queue: Arc::new(UnboundQueue::new(c"iommufd_rs_debugfs")?, GFP_KERNEL)?,
            _dir: dir,
        })
    }

    /// Makes a folder for a context. It is removed when the context is dropped. Does nothing if
    /// there are too many folders, or there is no memory. Half of the folders are not for
    /// containers, which anybody can open.
    pub(crate) fn show(&self, ctx: &Ctx, is_container: bool) {
        let most = MOST_FOLDERS / if is_container { 2 } else { 1 };
        let Some(count) = Count::one(most) else {
            return;
        };
        let Ok(watched) = Arc::new(
            Watched {
                table: ctx.objects().clone(),
                latencies: ctx.latencies().clone(),
            },
            GFP_KERNEL_ACCOUNT,
        ) else {
            return;
        };
        let folder = Folder {
            dir: SetOnce::new(),
            watched,
            _count: count,
        };
        if let Ok(owner) = Owner::new(&self.queue, folder) {
            if let Ok(companion) = KBox::new(Shown(owner), GFP_KERNEL_ACCOUNT) {
                ctx.accompany(companion);
            }
        }
    }
}

/// The switch for measuring.
struct Timing;

impl Switch for Timing {
    fn is_on() -> bool {
        latency::is_on()
    }

    fn turn(on: bool) {
        latency::turn(on);
    }
}

/// What the files of a folder are about.
struct Watched {
    table: Arc<Table>,
    latencies: Arc<Latencies>,
}

/// The folder of a context.
struct Folder {
    // Field order: the folder is removed before it is counted as such.
    dir: SetOnce<Dir<Watched>>,
    watched: Arc<Watched>,
    _count: Count,
}

impl Slow for Folder {
    fn complete(&self) {
        let Ok(name) = CString::try_from_fmt(fmt!("{}", self.watched.table.context())) else {
            return;
        };
        let Ok(dir) = Dir::new(TOP, &name, self.watched.clone()) else {
            return;
        };
        dir.file::<Objects>(c"objects");
        dir.file::<Areas>(c"areas");
        dir.file::<Extents>(c"extents");
        dir.file::<Tables>(c"tables");
        dir.file::<Latency>(c"latency");
        self.dir.populate(dir);
    }
}

/// Has the folder of a context removed when the context is closed.
struct Shown(#[expect(dead_code, reason = "it is dropped")] Owner<Folder>);

impl Companion for Shown {}

/// One of the contexts that [`FOLDERS`] counts.
struct Count;

impl Count {
    /// Counts one, if there are fewer than `most`.
    fn one(most: u32) -> Option<Self> {
        let before = FOLDERS.fetch_add(1, Relaxed);
        let counted = Self;
        (before < most).then_some(counted)
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        warn_on_once!(FOLDERS.fetch_sub(1, Relaxed) == 0);
    }
}

/// A place in address spaces or page tables: the id of one, and the IOVA in it.
type Place = (u32, u64);

/// The most objects that are looked at for a piece.
const MOST_OBJECTS: usize = 256;

/// Calls `list` for objects of a kind from a place on, until it returns where there was no more
/// room.
fn list_objects<K: Kind>(
    table: &Table,
    (first, iova): Place,
    list: impl Fn(&Object<K>, u64) -> Option<u64>,
) -> Option<Place> {
    let mut rest = None;
    let next = table.look(first, MOST_OBJECTS, |seen| {
        let id = seen.id();
        if let Some(object) = seen.as_kind::<K>() {
            let from = if id == first { iova } else { 0 };
            rest = list(object, from).map(|iova| (id, iova));
        }
        rest.is_none()
    });
    rest.or(next.map(|id| (id, 0)))
}

/// All objects, each with lines as `/proc/PID/fdinfo/N` has them.
struct Objects;

impl Listing for Objects {
    type Data = Watched;
    /// The least id that is not listed yet.
    type Place = u32;

    fn list(data: &Watched, place: u32, out: &Piece<'_>) -> Option<u32> {
        let lines = Lines::new(out.file());
        data.table.look(place, MOST_OBJECTS, |seen| {
            seen.show(&lines);
            // One at a time.
            false
        })
    }
}

/// The areas of all address spaces.
struct Areas;

impl Listing for Areas {
    type Data = Watched;
    type Place = Place;

    fn list(data: &Watched, place: Place, out: &Piece<'_>) -> Option<Place> {
        list_objects::<Ioas>(&data.table, place, |ioas, from| {
            ioas.list_areas(ioas.id(), from, out)
        })
    }
}

/// The physical memory of all address spaces.
struct Extents;

impl Listing for Extents {
    type Data = Watched;
    type Place = Place;

    fn list(data: &Watched, place: Place, out: &Piece<'_>) -> Option<Place> {
        list_objects::<Ioas>(&data.table, place, |ioas, from| {
            ioas.list_extents(ioas.id(), from, out)
        })
    }
}

/// The entries of all page tables that the kernel fills.
struct Tables;

impl Listing for Tables {
    type Data = Watched;
    type Place = Place;

    fn list(data: &Watched, place: Place, out: &Piece<'_>) -> Option<Place> {
        list_objects::<HwptPaging>(&data.table, place, |hwpt, from| {
            let sizes = hwpt.domain().page_sizes();
            hwpt.ioas().list_leaves(hwpt.id(), sizes, from, out)
        })
    }
}

/// How long calls took.
struct Latency;

impl Listing for Latency {
    type Data = Watched;
    /// The number of the line: each kind of calls has one for each class.
    type Place = usize;

    fn list(data: &Watched, place: usize, out: &Piece<'_>) -> Option<usize> {
        for line in place..Timed::ALL.len() * CLASSES {
            if !out.has_room() {
                return Some(line);
            }
            let (what, name) = Timed::ALL.get(line / CLASSES)?;
            let class = line % CLASSES;
            let calls = data.latencies.get(*what, class);
            if calls != 0 {
                let least = 1_u64 << class;
                seq_print!(out.file(), "{name} ns={least} calls={calls}\n");
            }
        }
        None
    }
}
