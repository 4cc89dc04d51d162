// SPDX-License-Identifier: GPL-2.0-only

//! User memory. Charges in advance, and what a context counts, are the module's own.

#[path = "../../../../kapi/mm/advance.rs"]
pub(crate) mod advance;
pub(crate) mod locked_vm;
pub(crate) mod pin;
#[path = "../../../host/src/kapi/mm/unpin.rs"]
pub(crate) mod unpin;
#[path = "../../../../kapi/mm/usage.rs"]
pub(crate) mod usage;
#[path = "../../src/kapi/mm/user.rs"]
pub(crate) mod user;

/// The users of address spaces, which are there as long as the models run.
pub(crate) mod alive {
    use kernel::{
        mm::Mm,
        sync::aref::ARef, //
    };

    /// Returns a reference to the users.
    pub(crate) fn alive(mm: &Mm) -> Option<ARef<Mm>> {
        Some(mm.into())
    }
}
