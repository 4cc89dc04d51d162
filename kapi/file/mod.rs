// SPDX-License-Identifier: GPL-2.0-only

//! Files, module parameters and the module itself.
//!
//! | file | fit for |
//! |---|---|
//! | `anon_file` | `rust/kernel/fs` |
//! | `params` | private: the parameters of this module |
//! | `pinnable` | `rust/kernel/fs` |
//! | `this_module` | private |

pub(crate) mod anon_file;
pub(crate) mod params;
pub(crate) mod pinnable;
pub(crate) mod this_module;
