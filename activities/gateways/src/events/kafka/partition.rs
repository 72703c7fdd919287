//! Which partition a key goes to: the same one as with Kafka's own producers, so whoever else writes or reads by key agrees.

/// Kafka's seed.
const SEED: u32 = 0x9747_b28c;
const MIX: u32 = 0x5bd1_e995;

/// The partition of a key among so many.
pub(super) fn partition_of(key: &[u8], partitions: usize) -> usize {
    // without its sign, as Kafka does
    let positive = murmur2(key) & 0x7fff_ffff;
    positive as usize % partitions.max(1)
}

/// MurmurHash2, 32 bits, of bytes in little-endian words.
fn murmur2(bytes: &[u8]) -> u32 {
    // Kafka counts in 32 bits too: longer keys than that are none
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(MIX);
        let mixed = (mixed ^ (mixed >> 24)).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ mixed;
    }
    if !rest.is_empty() {
        let last = rest.iter().rev().fold(0, |word, byte| (word << 8) | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hashed_as_kafka_does() {
        // the known answers of Kafka's own tests, which are signed numbers there
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_key_stays_in_its_partition_and_keys_spread() {
        assert_eq!(partition_of(b"21", 16), ((-973_932_308_i32 & 0x7fff_ffff) % 16) as usize);
        let mut counts = [0_u32; 6];
        for order in 0..600 {
            counts[partition_of(format!("order-{order}").as_bytes(), 6)] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }
}
