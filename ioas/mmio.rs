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

/// A range of a domain that reaches the memory.
struct Mapped {
    domain: Arc<Domain>,
    range: IovaRange,
}

struct Inner {
    /// Where the memory is, or `None` once it is revoked.
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
    /// Attaches a dma-buf. Fails as [`Attachment::new`].
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
        Attachment::new(buf, mmio)
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

    /// The physical address of page `index`, or `None` once the memory is revoked.
    pub(crate) fn phys(&self, index: u64) -> Option<u64> {
        let inner = self.inner.lock();
        let page = inner
            .memory
            .as_ref()?
            .part(index << PAGE_SHIFT, PAGE_SIZE)?;
        Some(page.start())
    }

    /// Unmaps `range` of `domain`, unless revocation has done so.
    pub(crate) fn unmap(&self, domain: &Arc<Domain>, range: IovaRange) {
        let mut inner = self.inner.lock();
        if let Some(mapped) = inner.mapped.find_mut(&Key::new(domain, range)) {
            domain.unmap(RANGES, [range]);
            drop(mapped.remove());
        }
    }
}

impl Importer for Mmio {
    fn attached(&self, memory: BufMemory) -> Result {
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
