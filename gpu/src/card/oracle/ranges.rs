//! A set of numbers as few ranges.

/// Ranges (start, end) that ascend and do not touch. Bounded: what would be one range too many is not taken up.
#[derive(Debug, Default, Clone)]
pub(super) struct Ranges {
    list: Vec<(u64, u64)>,
}

impl Ranges {
    /// Ranges that are kept.
    const LIMIT: usize = 4096;

    pub(super) fn insert(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let first = self.list.partition_point(|(_, known)| *known < start);
        let last = self.list.partition_point(|(known, _)| *known <= end);
        if first == last && self.list.len() >= Self::LIMIT {
            return;
        }
        let merged = self
            .list
            .get(first..last)
            .unwrap_or_default()
            .iter()
            .fold((start, end), |(start, end), known| {
                (start.min(known.0), end.max(known.1))
            });
        self.list.splice(first..last, [merged]);
    }

    pub(super) fn remove(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let mut left = Vec::with_capacity(self.list.len().saturating_add(1));
        for &(first, last) in &self.list {
            let before = (first, last.min(start));
            let behind = (first.max(end), last);
            left.extend([before, behind].into_iter().filter(|(start, end)| start < end));
        }
        left.truncate(Self::LIMIT);
        self.list = left;
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.list
            .get(self.list.partition_point(|(_, end)| *end <= number))
            .is_some_and(|(start, _)| *start <= number)
    }

    pub(super) fn as_slice(&self) -> &[(u64, u64)] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_a_set_of_numbers(changes in vec((any::<bool>(), 0..100_u64, 0..30_u64), 0..40)) {
            let mut ranges = Ranges::default();
            let mut model = [false; 200];
            for (insert, start, length) in changes {
                if insert {
                    ranges.insert(start, start + length);
                } else {
                    ranges.remove(start, start + length);
                }
                for number in start..start + length {
                    model[usize::try_from(number).unwrap()] = insert;
                }
            }
            for (number, expected) in (0..).zip(model) {
                prop_assert_eq!(ranges.contains(number), expected);
            }
            let apart = ranges.as_slice().windows(2).all(|pair| pair[0].1 < pair[1].0);
            prop_assert!(apart);
        }
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let mut ranges = Ranges::default();
        for number in 0..10_000 {
            ranges.insert(2 * number, 2 * number + 1);
        }
        assert_eq!(ranges.as_slice().len(), Ranges::LIMIT);
    }
}
