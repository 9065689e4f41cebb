//! Which block owns an offset.

use thiserror::Error;

use crate::RegOffset;

/// Two blocks claim the same register.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("register {offset} is claimed by both {first} and {second}")]
pub struct Overlap {
    /// The register.
    pub offset: RegOffset,
    /// Who had it.
    pub first: String,
    /// Who wanted it too.
    pub second: String,
}

/// Maps offsets to whoever claims them.
#[derive(Debug, Clone)]
pub struct Router<T> {
    claims: Vec<(RegOffset, T)>,
}

impl<T: Copy + std::fmt::Debug> Router<T> {
    /// Builds the map from every block's offsets.
    ///
    /// # Errors
    /// [`Overlap`] names the first register with two claims.
    pub fn new(claims: impl IntoIterator<Item = (RegOffset, T)>) -> Result<Self, Overlap> {
        let mut claims: Vec<_> = claims.into_iter().collect();
        claims.sort_by_key(|(offset, _)| *offset);
        for pair in claims.windows(2) {
            if let [(offset, first), (other, second)] = pair
                && offset == other
            {
                return Err(Overlap {
                    offset: *offset,
                    first: format!("{first:?}"),
                    second: format!("{second:?}"),
                });
            }
        }
        Ok(Self { claims })
    }

    /// Who owns `offset`.
    pub fn owner(&self, offset: RegOffset) -> Option<T> {
        let index = self
            .claims
            .binary_search_by_key(&offset, |(claimed, _)| *claimed)
            .ok()?;
        self.claims.get(index).map(|(_, owner)| *owner)
    }

    /// How many registers are claimed.
    pub fn len(&self) -> usize {
        self.claims.len()
    }

    /// Whether no register is claimed.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_belongs_to_the_block_that_claimed_it() {
        let router = Router::new([(RegOffset::from_byte(8), 'b'), (RegOffset::from_byte(4), 'a')]).unwrap();
        assert_eq!(router.owner(RegOffset::from_byte(4)), Some('a'));
        assert_eq!(router.owner(RegOffset::from_byte(12)), None);
    }

    #[test]
    fn two_claims_on_one_register_are_refused() {
        let at = RegOffset::from_byte(4);
        let overlap = Router::new([(at, 'a'), (at, 'b')]).unwrap_err();
        assert_eq!(overlap.offset, at);
    }
}
