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

/// A range of a domain that reaches the memory.
struct Mapped {
    domain: Arc<Domain>,
    range: IovaRange,
}

struct Inner {
    /// Where the memory is, or `None` once it is revoked.
    phys: Option<PhysRange>,
    mapped: KVec<Mapped>,
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
                        mapped: KVec::new(),
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
        inner.mapped.reserve(1, GFP_KERNEL_ACCOUNT)?;
        let start = phys.start + (pages.start() << PAGE_SHIFT);
        filler.push_pieces(core::iter::once((start, pages.len())))?;
        filler.keep();
        let domain = domain.clone();
        // There is room: it was reserved.
        drop(inner.mapped.push_within_capacity(Mapped { domain, range }));
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
        let found = inner
            .mapped
            .iter()
            .position(|m| m.range == range && Arc::ptr_eq(&m.domain, domain));
        if let Some(place) = found {
            domain.unmap([range]);
            drop(inner.mapped.remove(place));
        }
    }
}

impl Importer for Mmio {
    fn revoked(&self) {
        let mut inner = self.inner.lock();
        inner.phys = None;
        for mapped in &inner.mapped {
            mapped.domain.unmap([mapped.range]);
        }
        inner.mapped.clear();
    }
}
