// SPDX-License-Identifier: GPL-2.0-only

//! The models. Each is run in every order in which its threads can take locks, count references and
//! access user memory.

mod accesses;
mod domains;
mod driver;
mod event_queue;
mod fault_queue;
mod invalidation;
mod object_table;
mod registry;
mod world;

use crate::orders::{
    at_once,
    every_order, //
};
