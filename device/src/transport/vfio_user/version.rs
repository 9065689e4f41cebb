//! VERSION: what both sides say of themselves.

use std::ffi::CStr;

use serde::Deserialize;

use super::protocol::{Fields, MAX_DATA, MAX_MSG_FDS, ProtocolError};
use super::request::Request;
use crate::memory::PAGE_SIZE;

/// Most descriptors that a client may claim to take with one message (libvfio-user: `MAX_FDS`).
const CLIENT_FDS_LIMIT: u64 = 1024;
/// Protocol version: major.
pub const MAJOR: u16 = 0;
/// Protocol version: highest minor.
pub const MINOR: u16 = 1;

/// What a client says of itself. Unknown members are ignored, so that newer clients can be talked to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct ClientCapabilities {
    /// Most descriptors that it takes with one message.
    pub max_msg_fds: Option<u64>,
    /// Most data that it wants in one message. It chooses the count of every access itself, so there is nothing to enforce.
    pub max_data_xfer_size: Option<u64>,
    /// Migration parameters; checked, not used.
    migration: Option<Migration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
struct Migration {
    pgsize: Option<u64>,
}

impl ClientCapabilities {
    /// Whether a descriptor may be sent to it. The specification's default is one.
    pub fn takes_descriptors(&self) -> bool {
        self.max_msg_fds != Some(0)
    }

    fn decode(bytes: &[u8]) -> Result<Self, ProtocolError> {
        #[derive(Deserialize, Default)]
        struct Version {
            #[serde(default)]
            capabilities: ClientCapabilities,
        }
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let text = CStr::from_bytes_with_nul(bytes)
            .map_err(|_| ProtocolError::Invalid("version data does not end at its first NUL"))?;
        let Version { capabilities } = serde_json::from_slice(text.to_bytes())
            .map_err(|_| ProtocolError::Invalid("version data is not the JSON that was expected"))?;
        if capabilities
            .max_msg_fds
            .is_some_and(|count| count > CLIENT_FDS_LIMIT)
        {
            return Err(ProtocolError::Invalid("max_msg_fds is beyond reason"));
        }
        if let Some(Migration { pgsize: Some(size) }) = capabilities.migration
            && (size < PAGE_SIZE || !size.is_power_of_two())
        {
            return Err(ProtocolError::Invalid("migration.pgsize is no page size"));
        }
        Ok(capabilities)
    }
}

/// The payload of a VERSION reply: never a higher minor version than the client's. QEMU takes no reply longer than its own request
/// (about 200 bytes), so this stays short.
pub fn version_reply(client_minor: u16) -> Vec<u8> {
    let mut reply = Vec::with_capacity(128);
    reply.extend_from_slice(&MAJOR.to_le_bytes());
    reply.extend_from_slice(&MINOR.min(client_minor).to_le_bytes());
    let capabilities = serde_json::json!({
        "capabilities": {
            "max_msg_fds": MAX_MSG_FDS,
            "max_data_xfer_size": MAX_DATA,
            "pgsizes": PAGE_SIZE,
            "write_multiple": true,
        }
    });
    reply.extend_from_slice(capabilities.to_string().as_bytes());
    reply.push(0);
    reply
}

/// Decodes a VERSION request.
pub(super) fn version<'a>(fields: &mut Fields<'a>) -> Result<Request<'a>, ProtocolError> {
    let (major, minor) = (fields.u16()?, fields.u16()?);
    if major != MAJOR {
        return Err(ProtocolError::Version { major });
    }
    let capabilities = ClientCapabilities::decode(fields.rest)?;
    Ok(Request::Version { minor, capabilities })
}
