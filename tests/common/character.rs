//! The characters a fake peer can have: one way each of being good, slow, rude or wrong.

use std::time::Duration;

/// How a fake seeder behaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Character {
    /// Has everything, unchokes at once, serves what is asked.
    Good,
    /// Sends a wrong byte in every block.
    CorruptsAll,
    /// Sends a wrong byte in every block, and hangs up after this many.
    CorruptsAndLeaves(usize),
    /// Sends one wrong byte in every piece whose number is a multiple of this.
    CorruptsOneIn(u32),
    /// Has everything and never unchokes.
    NeverUnchokes,
    /// Chokes after every three blocks, forgets what was asked, and unchokes a moment later.
    ChokesInMidPiece,
    /// Serves this many blocks and a half, then hangs up.
    LeavesInMidBlock(usize),
    /// Serves this many blocks, then says nothing any more, and stays.
    GoesSilent(usize),
    /// Sends every byte by itself.
    OneByteAtATime,
    /// Announces a frame of 4 GiB less one.
    OversizeFrame,
    /// Says it has a piece that the torrent doesn't.
    ClaimsMissingPiece,
    /// Sends a bitfield of one byte too many.
    LongBitfield,
    /// Sends blocks nobody asked for, with wrong bytes, and then serves.
    SendsUnasked,
    /// Sends no bitfield, but a Have for each piece.
    NoBitfield,
    /// Sends its bitfield only once the other side is interested in the piece it named before.
    LateBitfield,
    /// Sends nothing but keep-alives.
    OnlyKeepAlives,
    /// Speaks the fast extension: Have All, an allowed-fast set, and no unchoke before a block of that is served.
    Fast,
    /// Serves this many bytes a second, a few at a time.
    Trickles(u64),
    /// Thinks for this long before each block, and forgets it when it is cancelled meanwhile.
    Ponders(Duration),
    /// Speaks the fast extension and rejects every second request.
    Rejects,
    /// Serves at this many bytes a second.
    Slow(u64),
    /// Has only the pieces for which this is true.
    Has(Vec<bool>),
    /// Has only this piece, serves this many blocks of it, then hangs up.
    HasOneAndLeaves(u32, usize),
    /// Accepts, and never answers the handshake.
    SilentHandshake,
    /// Answers the handshake with a web page.
    Garbage,
    /// Answers for another torrent.
    WrongInfoHash,
    /// Says random things, some of them messages; the number is the seed.
    Babbles(u64),
}

impl Character {
    /// The reserved bits of its handshake.
    pub fn reserved(&self) -> [u8; 8] {
        match self {
            Self::Fast | Self::Rejects => super::link::FAST,
            _ => [0; 8],
        }
    }

    /// Whether it has this piece.
    pub fn has(&self, piece: u32) -> bool {
        match self {
            Self::Has(pieces) => pieces[piece as usize],
            Self::HasOneAndLeaves(only, _) => piece == *only,
            _ => true,
        }
    }
}
