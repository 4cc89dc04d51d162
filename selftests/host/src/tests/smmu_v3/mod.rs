// SPDX-License-Identifier: GPL-2.0-only

//! The policy of the native backend for SMMUv3.

mod absence;
mod batch;
mod command;
mod failure;
mod guest;
mod merge;
mod model;
mod scope;
mod ste;
mod world;
