// SPDX-License-Identifier: GPL-2.0-only

//! Chooses the kernel configuration that the module's files are compiled for.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cfg=CONFIG_TRANSPARENT_HUGEPAGE");
}
