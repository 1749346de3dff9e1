//! From answers to the socket: one vectored send for all that are ready.

use engine::rt::Stream;
use smallvec::SmallVec;

use super::CloseReason;
use super::reply::Response;
use super::watch::{Kinds, Watch};

/// Sends the responses in order, while the connection keeps memory of the `parked` kinds behind
/// them. A peer that does not take a [`PIECE_BYTES`] piece in time is closed by the sweep.
pub(crate) async fn send(
    stream: &Stream,
    responses: &[Response],
    watch: &Watch,
    parked: Kinds,
) -> Result<(), CloseReason> {
    watch.begin_sending(responses.iter().map(Response::keeps).fold(parked, Kinds::and));
    let mut piece = Piece::default();
    for mut bytes in responses.iter().flat_map(Response::pieces) {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - piece.len));
            piece.bufs.push(now);
            piece.len += now.len();
            bytes = later;
            if piece.len == PIECE_BYTES || piece.bufs.len() == PIECE_BUFS {
                piece.send(stream, watch).await?;
            }
        }
    }
    if piece.len > 0 {
        piece.send(stream, watch).await?;
    }
    watch.end_sending();
    Ok(())
}

#[derive(Default)]
struct Piece<'a> {
    bufs: SmallVec<[&'a [u8]; 8]>,
    len: usize,
}

impl Piece<'_> {
    async fn send(&mut self, stream: &Stream, watch: &Watch) -> Result<(), CloseReason> {
        watch.unless_killed(stream.send(&self.bufs)).await?.map_err(CloseReason::Broken)?;
        watch.sent_piece();
        self.bufs.clear();
        self.len = 0;
        Ok(())
    }
}

/// What a peer must take in one go to be seen as alive. With the sweep's 30 s this asks for 9 KB/s.
const PIECE_BYTES: usize = 256 << 10;
/// Buffers per send: the kernel takes 1024 (`IOV_MAX`).
const PIECE_BUFS: usize = 1024;
