//! A value that may differ from ASIC to ASIC.

use std::fmt;

use protocol::asic::Asic;

/// A value for each ASIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PerAsic<T> {
    navi21: T,
    navi12: T,
}

impl<T> PerAsic<T> {
    /// Makes it of the value for each.
    pub fn each(mut value: impl FnMut(Asic) -> T) -> Self {
        Self {
            navi21: value(Asic::Navi21),
            navi12: value(Asic::Navi12),
        }
    }

    /// The same for all.
    pub fn same(value: T) -> Self
    where
        T: Clone,
    {
        Self::each(|_| value.clone())
    }

    /// The value for one.
    pub const fn of(&self, asic: Asic) -> &T {
        match asic {
            Asic::Navi21 => &self.navi21,
            Asic::Navi12 => &self.navi12,
        }
    }
}

impl<T: fmt::Display + PartialEq> fmt::Display for PerAsic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { navi21, navi12 } = self;
        if navi21 == navi12 {
            return navi21.fmt(f);
        }
        write!(f, "{navi21} (navi21), {navi12} (navi12)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_asic_has_its_value() {
        let value = PerAsic::each(Asic::name);
        for asic in Asic::ALL {
            assert_eq!(*value.of(asic), asic.name());
        }
        assert_eq!(value.to_string(), "navi21 (navi21), navi12 (navi12)");
        assert_eq!(PerAsic::same("x").to_string(), "x");
    }
}
