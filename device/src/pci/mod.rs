//! Configuration space of the PCI function.
//!
//! What every register does is data (`layout.rs`): a reset value, the bits that a write sets, the bits that writing one clears.
//! Writes with a consequence outside configuration space return it as a [`ConfigEffect`].
//!
//! Sources: PCI Local Bus 3.0, PCI Express Base 4.0; names as in Linux `include/uapi/linux/pci_regs.h` without the prefix `PCI_`.
//! Offsets of the capabilities are those of a Navi21 card: power management 0x50, PCI Express 0x64, MSI 0xA0.
//!
//! # What it does not do
//!
//! No INTx, no MSI-X, no ASPM, no AER, no resizable BAR, no SR-IOV capability, no PME. Link registers show a fixed, trained
//! 16 GT/s x16 link; nothing trains. BAR values are kept for reading back: the VMM decodes addresses, not this device.

mod config;
mod layout;

pub use config::{ConfigEffect, ConfigSpace, Msi, PowerState};
pub use gpu::asic::PciIdentity;
pub use layout::{Bar, BarKind, Layout, LayoutError};

/// Size of the extended configuration space in bytes.
pub const CONFIG_SIZE: usize = 4096;

#[cfg(test)]
mod tests;
