//! PM4, the command processor's packets: values ([`Packet`]) and how dwords become them ([`decode`]).

mod decode;
pub mod opcode;
mod packet;

pub use decode::{Header, decode};
pub use opcode::name as opcode_name;
pub use packet::{
    Compare, CopySource, Destination, DmaSource, Packet, Place, QueueSelection, ReleaseData, UnmapAction,
};
