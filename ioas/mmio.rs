// SPDX-License-Identifier: GPL-2.0-only

//! Device memory: a dma-buf whose exporter tells where it is, and may take it back at any time.
//!
//! It is not pinned or charged, and the CPU does not reach it through here. Every range that a
//! domain has is listed, so that revocation can unmap it, once and for all.
//!
//! The lock (rank 31) is taken inside the dma-buf's reservation lock.

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNodeReservation, //
    },
    sync::{
        Arc,
        Mutex, //
    }, //
};

use crate::{
    ioas::area::Filler,
    kapi::{
        dma_buf::import::{
            Attachment,
            DmaBuf,
            Importer,
            PhysRange, //
        },
        iommu::domain::Domain,
        units::{
            IovaRange,
            PageRange,
            PAGE_SHIFT, //
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

/// A range of a domain that reaches the memory.
struct Mapped {
    domain: Arc<Domain>,
    range: IovaRange,
}

struct Inner {
    /// Where the memory is, or `None` once it is revoked.
    phys: Option<PhysRange>,
    mapped: RBTree<Key, Mapped>,
}

/// The memory of a dma-buf.
#[pin_data]
pub(crate) struct Mmio {
    #[pin]
    inner: Mutex<Inner>,
}

impl Mmio {
    /// Attaches a dma-buf. Fails as [`Attachment::new`], and with `EINVAL` where it has less memory
    /// than its size says.
    pub(crate) fn attach(buf: DmaBuf) -> Result<Attachment<Self>> {
        let size = buf.size();
        let mmio = Arc::pin_init(
            pin_init!(Self {
                inner <- new_mutex!(
                    Inner {
                        phys: None,
                        mapped: RBTree::new(),
                    },
                    "Mmio::inner"
                ),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        Attachment::new(buf, mmio, |mmio, phys| {
            if phys.len < size {
                return Err(EINVAL);
            }
            mmio.inner.lock().phys = Some(phys);
            Ok(())
        })
    }

    /// Maps the pages `pages` of the memory through `filler`, which fills `range` of `domain`. Once
    /// the memory is revoked there is nothing to map, and that is no failure. `ENOMEM`.
    pub(crate) fn map(
        &self,
        domain: &Arc<Domain>,
        range: IovaRange,
        pages: PageRange,
        mut filler: Filler<'_>,
    ) -> Result {
        let mut inner = self.inner.lock();
        let Some(phys) = inner.phys else {
            return Ok(());
        };
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let start = phys.start + (pages.start() << PAGE_SHIFT);
        filler.push_pieces(core::iter::once((start, pages.len())))?;
        filler.keep();
        let key = Key::new(domain, range);
        let domain = domain.clone();
        inner
            .mapped
            .insert(node.into_node(key, Mapped { domain, range }));
        Ok(())
    }

    /// The physical address of page `index`, or `None` once the memory is revoked.
    pub(crate) fn phys(&self, index: u64) -> Option<u64> {
        let phys = self.inner.lock().phys?;
        Some(phys.start + (index << PAGE_SHIFT))
    }

    /// Unmaps `range` of `domain`, unless revocation has done so.
    pub(crate) fn unmap(&self, domain: &Arc<Domain>, range: IovaRange) {
        let mut inner = self.inner.lock();
        if let Some(mapped) = inner.mapped.find_mut(&Key::new(domain, range)) {
            domain.unmap([range]);
            drop(mapped.remove());
        }
    }
}

impl Importer for Mmio {
    fn revoked(&self) {
        let mut inner = self.inner.lock();
        inner.phys = None;
        for mapped in inner.mapped.values() {
            mapped.domain.unmap([mapped.range]);
        }
        inner.mapped = RBTree::new();
    }
}
