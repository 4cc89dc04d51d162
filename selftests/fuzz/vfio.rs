// SPDX-License-Identifier: GPL-2.0-only

//! Where the device of VFIO is that programs open.

use std::{
    fs,
    path::Path, //
};

/// Texts are empty if the machine has no such device.
#[derive(Debug, Default)]
pub(crate) struct Vfio {
    /// The path of the device's own file.
    pub(crate) device: String,
    /// The path of its group.
    pub(crate) group: String,
    /// The name by which its group has it.
    pub(crate) name: String,
}

impl Vfio {
    pub(crate) fn find() -> Self {
        let is_device = |name: &str| name.contains(':');
        let is_group = |name: &str| name.trim_start_matches("noiommu-").parse::<u32>().is_ok();
        let path = |directory, is: &dyn Fn(&str) -> bool| {
            first(directory, is).map_or_else(String::new, |name| format!("{directory}/{name}"))
        };
        Self {
            device: path("/dev/vfio/devices", &|_| true),
            group: path("/dev/vfio", &is_group),
            name: first("/sys/bus/pci/drivers/vfio-pci", &is_device).unwrap_or_default(),
        }
    }
}

/// Returns the name of a file of a directory.
fn first(directory: impl AsRef<Path>, is: &dyn Fn(&str) -> bool) -> Option<String> {
    fs::read_dir(directory)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| is(name))
}
