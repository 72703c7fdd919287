//! What the API's replicas share through Redis: the buckets of their clients, answers of the last second, and a bell
//! that is rung when there is something new of an order.
//!
//! Nothing here is the only copy of anything. Every call ends within a few hundredths of a second, and its failure is an answer too
//! (`None`): the caller then does without. After a failure nobody calls for a second, so an outage costs time once a second, not with
//! every request.

mod answers;
mod bell;
mod buckets;
mod line;

pub use answers::{Answers, Kept};
pub use bell::{Bell, Heard, Hearing};
pub use buckets::{Bucket, Buckets};
pub use line::{Line, Told, Unusable, check};
