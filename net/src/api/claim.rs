//! What a request takes in memory beside its frame: bounded by how many things it names, claimed
//! before it is worked on, and kept for its answer until that is sent.
//!
//! An element of an array is a few bytes on the wire and hundreds once it is planned, looked up and
//! answered, so a frame of 100 MiB could ask for gigabytes.

use wire::cursor::Cursor;
use wire::error::{DecodeError, DecodeFault};
use wire::schema::{self, Message};

use super::{Cx, Order};
use crate::conn::read::Frame;
use crate::conn::reply::Refusal;

impl Cx {
    /// Decodes the body of the request and waits for the memory that it will take. What follows the
    /// known fields is ignored, as in Kafka.
    pub(crate) async fn decode<'a, M: Message<'a>>(&self, frame: &'a Frame) -> Result<M, Refusal> {
        let (len, max) = (frame.bytes.len(), BYTES_MAX);
        // Produce passes slices of its frame on; what others name is copied.
        let copied = if self.row.order == Order::Pipelined { 0 } else { len };
        if copied > max {
            return Err(Refusal::TooLong { api: self.row.key.name(), len, max });
        }
        let counted = |elements_max| -> Result<(M, usize), DecodeError> {
            let mut cur = Cursor::with_elements_max(&frame.bytes, elements_max);
            let message = schema::decode(&mut cur, self.version)?;
            Ok((message, elements_max - cur.elements_left()))
        };
        let decoded = counted(ELEMENTS_MAX).or_else(|error| match error.fault {
            DecodeFault::TooMany { .. } => counted(self.elements_max()),
            _ => Err(error),
        });
        let (message, elements) = decoded?;
        self.claim_bytes(elements * ELEMENT_BYTES + COPIES * copied).await;
        Ok(message)
    }

    /// Waits in line for the memory that an answer with so many elements takes, in place of what
    /// was claimed before. For requests that ask for more than they name.
    pub(crate) async fn claim(&self, elements: usize) {
        self.claim_bytes(elements * ELEMENT_BYTES).await;
    }

    async fn claim_bytes(&self, bytes: usize) {
        // Who waits in line for more holds nothing that others in line wait for.
        drop(self.claimed.take());
        let ticket = self.core.working.acquire(bytes).await;
        self.claimed.replace(Some(ticket));
    }

    /// How many elements a request may have: any number of partitions may be asked for that there
    /// are, with their replicas, and some that there are not.
    fn elements_max(&self) -> usize {
        let image = self.image();
        let partitions = image.topics().iter().map(|topic| topic.partition_count()).sum::<usize>();
        ELEMENTS_MAX.max(ELEMENTS_PER_PARTITION * partitions)
    }
}

/// Longest request but Produce: names and settings of [`ELEMENTS_MAX`] things are far shorter.
const BYTES_MAX: usize = 16 << 20;
/// Elements that one request may have in its arrays, whatever there is.
const ELEMENTS_MAX: usize = 50_000;
/// As many per partition that there is: topic, partition and replicas of an assignment.
const ELEMENTS_PER_PARTITION: usize = 5;
/// What an element takes from when it is planned until it is answered. A partition of a Fetch, the
/// largest, is 0.6 KiB.
const ELEMENT_BYTES: usize = 640;
/// How often the names and values of a request are in memory at the same time, beside its frame.
const COPIES: usize = 3;
