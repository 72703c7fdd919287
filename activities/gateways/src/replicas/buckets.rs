//! Buckets of requests that all replicas take from.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Line;

/// Takes one out of a bucket, as one step. A bucket is one instant: the one at which it will be full again, in microseconds of the
/// server's clock, so that the clocks of replicas do not matter. A bucket that is full has no key.
///
/// Numbers of Lua are written with `%.0f`: otherwise only fourteen digits are kept of them.
const TAKE: &str = r"
local each, burst = 1000000 / tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full = tonumber(redis.call('GET', KEYS[1]) or '') or now
full = math.min(math.max(full, now), now + each * burst)
local wait = full + each - each * burst - now
-- what was rounded is nobody's fault
if wait > 1 then
  return {0, math.ceil(wait)}
end
full = full + each
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return {1, math.floor(burst - (full - now) / each + 0.001)}
";

/// What a bucket says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// One was taken; so many are left.
    Left(u32),
    /// It is empty for so long.
    Empty(Duration),
}

/// The buckets of clients.
pub struct Buckets {
    line: Line,
    prefix: String,
}

impl Buckets {
    /// Buckets under keys that begin with `prefix`.
    pub fn new(line: Line, prefix: &str) -> Self {
        Self { line, prefix: format!("{prefix}bucket:") }
    }

    /// Takes one out of a client's bucket, which holds `burst` and is refilled with so many per second. `None`: nobody answers in time.
    pub async fn take(&self, client: &str, per_second: NonZeroU32, burst: NonZeroU32) -> Option<Bucket> {
        let mut take = redis::pipe();
        let command = take.cmd("EVAL").arg(TAKE).arg(1).arg(format!("{}{client}", self.prefix));
        command.arg(per_second.get()).arg(burst.get());
        let ((taken, number),): ((u8, u64),) = self.line.call(&take).await?;
        Some(match taken {
            1 => Bucket::Left(u32::try_from(number).unwrap_or(u32::MAX)),
            _ => Bucket::Empty(Duration::from_micros(number)),
        })
    }
}
