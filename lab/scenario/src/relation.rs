//! How one thing has to compare with another: `>=`, `!=` and the like.

use std::cmp::Ordering;

/// How it has to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    Is,
    IsNot,
    AtLeast,
    Above,
    AtMost,
    Below,
}

impl Relation {
    /// With their signs, a longer one before its beginning.
    const SIGNS: [(&'static str, Self); 6] = [
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        ("!=", Self::IsNot),
        ("=", Self::Is),
        (">", Self::Above),
        ("<", Self::Below),
    ];

    /// The relation whose sign a text begins with, and what stands behind it.
    pub(super) fn split(text: &str) -> Option<(Self, &str)> {
        let mut signs = Self::SIGNS.iter();
        signs.find_map(|(sign, relation)| Some((*relation, text.strip_prefix(sign)?)))
    }

    /// Its sign, where none means equal.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Is => "",
            Self::IsNot => "!=",
            Self::AtLeast => ">=",
            Self::Above => ">",
            Self::AtMost => "<=",
            Self::Below => "<",
        }
    }

    /// Whether it holds for what compares so.
    pub(super) const fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Is => order.is_eq(),
            Self::IsNot => order.is_ne(),
            Self::AtLeast => order.is_ge(),
            Self::Above => order.is_gt(),
            Self::AtMost => order.is_le(),
            Self::Below => order.is_lt(),
        }
    }
}
