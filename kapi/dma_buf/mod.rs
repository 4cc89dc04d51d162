// SPDX-License-Identifier: GPL-2.0-only

//! dma-bufs: importing those whose exporter says where the memory is, and exporting some for tests.
//!
//! | file | fit for |
//! |---|---|
//! | `export` | private: for the test module |
//! | `import` | private: the operation that names the memory belongs to vfio-pci and iommufd |

#[cfg(CONFIG_IOMMUFD_RS_TEST)]
pub(crate) mod export;
pub(crate) mod import;
