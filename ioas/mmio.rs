// SPDX-License-Identifier: GPL-2.0-only

//! Device memory: a dma-buf whose exporter knows its physical address, and may revoke it at any
//! time.
//!
//! The memory is neither pinned nor charged, and the CPU does not access it. Every range of a
//! domain that maps it is listed, so that revocation can unmap it.
//!
//! The lock `Mmio::inner` (rank 31) is taken inside the reservation lock of the dma-buf.

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
    ioas::{
        filler::Filler,
        ranges::RANGES, //
    },
    kapi::{
        dma_buf::import::{
            Attachment,
            BufMemory,
            DmaBuf,
            Importer, //
        },
        iommu::domain::Domain,
        reason::Result,
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

struct Inner {
    /// The memory, or `None` after it was revoked.
    memory: Option<BufMemory>,
    mapped: RBTree<Key, Mapped>,
}

/// The memory of a dma-buf.
#[pin_data]
pub(crate) struct Mmio {
    #[pin]
    inner: Mutex<Inner>,
}

impl Mmio {
    /// Attaches a dma-buf. Returns the errors of [`Attachment::new`].
    pub(crate) fn attach(buf: DmaBuf) -> Result<Attachment<Self>> {
        let mmio = Arc::pin_init(
            pin_init!(Self {
                inner <- new_mutex!(
                    Inner {
                        memory: None,
                        mapped: RBTree::new(),
                    },
                    "Mmio::inner"
                ),
            }),
            GFP_KERNEL_ACCOUNT,
        )?;
        Ok(Attachment::new(buf, mmio)?)
    }

    /// Maps `pages` of the memory through `filler`, which fills `range` of `domain`. Maps nothing
    /// and returns success if the memory was revoked. Returns `ENOMEM` and the errors of the IOMMU
    /// driver.
    pub(crate) fn map(
        &self,
        domain: &Arc<Domain>,
        range: IovaRange,
        pages: PageRange,
        mut filler: Filler<'_>,
    ) -> Result {
        let mut inner = self.inner.lock();
        let Inner { memory, mapped } = &mut *inner;
        let Some(memory) = memory else {
            return Ok(());
        };
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let (offset, len) = (pages.start() << PAGE_SHIFT, pages.len() << PAGE_SHIFT);
        filler.push_pieces(memory.part(offset, len).into_iter())?;
        filler.keep();
        let key = Key::new(domain, range);
        let domain = domain.clone();
        mapped.insert(node.into_node(key, Mapped { domain, range }));
        Ok(())
    }

    /// Returns the physical address of page `index`, or `None` if the memory was revoked.
    pub(crate) fn phys(&self, index: u64) -> Option<u64> {
        let inner = self.inner.lock();
        let page = inner
            .memory
            .as_ref()?
            .part(index << PAGE_SHIFT, PAGE_SIZE)?;
        Some(page.start())
    }

    /// Unmaps `range` of `domain`, unless revocation has unmapped it.
    pub(crate) fn unmap(&self, domain: &Arc<Domain>, range: IovaRange) {
        let mut inner = self.inner.lock();
        if let Some(mapped) = inner.mapped.find_mut(&Key::new(domain, range)) {
            domain.unmap(RANGES, [range]);
            drop(mapped.remove());
        }
    }
}

impl Importer for Mmio {
    fn attached(&self, memory: BufMemory) -> Result<(), Error> {
        self.inner.lock().memory = Some(memory);
        Ok(())
    }

    fn revoked(&self) {
        let mut inner = self.inner.lock();
        for mapped in inner.mapped.values() {
            mapped.domain.unmap(RANGES, [mapped.range]);
        }
        inner.mapped = RBTree::new();
        inner.memory = None;
    }
}
