//! Typed addresses. No bare integer addresses memory.

use std::fmt;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(u64);

        impl $name {
            /// From a byte address.
            pub const fn new(address: u64) -> Self {
                Self(address)
            }

            /// The byte address.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// This address moved up by `bytes`, wrapping at 64 bits as the hardware's adders do.
            #[must_use]
            pub const fn plus(self, bytes: u64) -> Self {
                Self(self.0.wrapping_add(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }
    };
}

address! {
    /// An address as an engine issues it: virtual in VMID 1..15, and in VMID 0 an MC address (frame buffer, AGP, GART window).
    /// 48 bits are significant.
    GpuVa
}
address! {
    /// A byte offset from the start of VRAM.
    VramOffset
}
address! {
    /// A bus address: what the PCI function puts on the bus, guest-physical without an IOMMU.
    BusAddr
}

impl GpuVa {
    /// Bits of an address that take part in translation.
    pub const BITS: u32 = 48;

    /// The address with everything above [`Self::BITS`] removed (sign-extended user addresses become canonical).
    #[must_use]
    pub const fn canonical(self) -> Self {
        Self(self.0 & ((1 << Self::BITS) - 1))
    }
}

/// A virtual memory context number, 0..=15.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Vmid(u8);

impl Vmid {
    /// How many contexts a hub has.
    pub const COUNT: usize = 16;
    /// The kernel's context: apertures and the GART.
    pub const KERNEL: Self = Self(0);

    /// From the low four bits of a field.
    pub const fn from_field(bits: u32) -> Self {
        Self((bits & 0xf) as u8)
    }

    /// All contexts, ascending.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..16).map(Self::from_field)
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Vmid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for Vmid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vmid({})", self.0)
    }
}
