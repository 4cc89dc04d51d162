// SPDX-License-Identifier: GPL-2.0-only

//! Device memory: a dma-buf whose exporter knows its physical address, and may revoke it at any
//! time.
//!
//! The memory is neither pinned nor charged, and the CPU does not access it. Every range of a
//! domain that maps it is listed, so that revocation can unmap it.
//!
//! The lock `Loan::inner` (rank 31, `kapi/dma_buf/import.rs`) protects the memory and the list.

use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::Arc, //
};

use crate::{
    ioas::{
        division::Division,
        filler::Filler,
        ranges::RANGES, //
    },
    kapi::{
        bug::warn_on_once,
        dma_buf::import::{
            Attachment,
            DmaBuf,
            Importer, //
        },
        iommu::domain::Domain,
        reason::Result,
        sync::signal,
        units::{
            IovaRange,
            PageRange,
            PAGE_SHIFT,
            PAGE_SIZE, //
        }, //
    }, //
};

/// Identifies a range of a domain: the domain's address, which is compared only, and the range's
/// first address. Ranges of one domain do not intersect.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    domain: usize,
    start: u64,
}

impl Key {
    fn new(domain: &Arc<Domain>, range: IovaRange) -> Self {
        Self {
            domain: Arc::as_ptr(domain).addr(),
            start: range.start(),
        }
    }
}

/// A range of a domain that maps the memory.
struct Mapped {
    domain: Arc<Domain>,
    range: IovaRange,
}

/// The ranges that map the memory.
struct MappedRanges(RBTree<Key, Mapped>);

/// The memory of a dma-buf.
pub(crate) struct Mmio(Attachment<MappedRanges>);

impl Mmio {
    /// Attaches a dma-buf. Returns the errors of [`Attachment::new`].
    pub(crate) fn attach(buf: DmaBuf) -> Result<Self> {
        Ok(Self(Attachment::new(buf, MappedRanges(RBTree::new()))?))
    }

    /// Maps `pages` of the memory through `filler`, which fills `range` of `domain`. Maps nothing
    /// and returns success if the memory was revoked. Returns `ENOMEM`, `EINTR` if the task is being
    /// killed, and the errors of the IOMMU driver.
    pub(crate) fn map(
        &self,
        domain: &Arc<Domain>,
        range: IovaRange,
        pages: PageRange,
        filler: Filler<'_>,
    ) -> Result {
        let mut loan = self.0.lock_killable()?;
        let (Some(memory), mapped) = loan.parts() else {
            return Ok(());
        };
        // If mapping fails, it is undone before the lock is released: revocation knows nothing of it.
        let mut filler = filler;
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let phase = (range.start() >> PAGE_SHIFT).wrapping_sub(pages.start());
        let division = Division::new(phase);
        let mut rest = Some(pages);
        while let Some(pages) = rest {
            signal::check_killed()?;
            let last = division.longest_last(pages.start(), pages.last());
            let bytes = (last - pages.start() + 1) << PAGE_SHIFT;
            let piece = memory.part(pages.start() << PAGE_SHIFT, bytes);
            filler.push_pieces(piece.into_iter())?;
            rest = PageRange::new(last + 1, pages.last());
        }
        filler.keep();
        let key = Key::new(domain, range);
        let domain = domain.clone();
        let node = node.into_node(key, Mapped { domain, range });
        mapped.0.insert(node);
        Ok(())
    }

    /// Returns the physical address of page `index`, or `None` if the memory was revoked. Returns `EINTR`
    /// if the task is being killed.
    pub(crate) fn phys(&self, index: u64) -> Result<Option<u64>> {
        let mut loan = self.0.lock_killable()?;
        let (memory, _) = loan.parts();
        let page = memory.and_then(|memory| memory.part(index << PAGE_SHIFT, PAGE_SIZE));
        Ok(page.map(|page| page.start()))
    }

    /// Unmaps `range` of `domain`, unless revocation has unmapped it.
    pub(crate) fn unmap(&self, domain: &Arc<Domain>, range: IovaRange) {
        let mut loan = self.0.lock();
        let (_, mapped) = loan.parts();
        if let Some(mapped) = mapped.0.find_mut(&Key::new(domain, range)) {
            warn_on_once!(mapped.get().range != range);
            domain.unmap(RANGES, [mapped.get().range]);
            drop(mapped.remove());
        }
    }
}

impl Importer for MappedRanges {
    fn revoked(&mut self) {
        for mapped in self.0.values() {
            mapped.domain.unmap(RANGES, [mapped.range]);
        }
        self.0 = RBTree::new();
    }
}
