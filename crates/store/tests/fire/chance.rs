//! Chance that can be had again: a seed, printed, and `TENANCY_SEED` to give it.

/// Draws lots (SplitMix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// From `TENANCY_SEED`, or from `seed`; printed, so that a failure says which it was.
    pub fn new(seed: u64) -> Self {
        let given = std::env::var("TENANCY_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or(seed);
        println!("TENANCY_SEED={seed}");
        Self(seed)
    }

    /// Another, for somebody who works beside this one.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 to `bound`, which is not drawn.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(usize::try_from(self.below(of.len() as u64)).ok()?) }
    }
}
