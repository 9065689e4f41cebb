//! What guest and host say to each other (`mxgpu_nv.h`: `enum idh_request`, `enum idh_event`).

use serde::Serialize;

/// A message as it lies in the mailbox.
pub type Dwords = [u32; 4];

/// What a guest asks or tells, by the name in `mxgpu_nv.h` without its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The driver starts: it wants the function for itself.
    InitAccess,
    /// It has started: the function may be shared again, and is used by rings alone from now on.
    ReleaseInit,
    /// The driver ends: it wants the function for itself.
    FiniAccess,
    /// It has ended.
    ReleaseFini,
    /// The function is to be reset, and then to be the driver's.
    ResetAccess,
    /// Where the data that the host leaves is, and in which form.
    InitData,
    /// Something that went wrong in the guest.
    LogError,
    /// A reset that the host has announced may happen now.
    ReadyToReset,
    /// Data in memory is bad.
    RasPoison,
    /// Anything else.
    Unknown(u32),
}

impl Request {
    /// All that have a name.
    pub const NAMED: [Self; 9] = [
        Self::InitAccess,
        Self::ReleaseInit,
        Self::FiniAccess,
        Self::ReleaseFini,
        Self::ResetAccess,
        Self::InitData,
        Self::LogError,
        Self::ReadyToReset,
        Self::RasPoison,
    ];

    /// From the first dword of a message.
    pub const fn decode(number: u32) -> Self {
        match number {
            1 => Self::InitAccess,
            2 => Self::ReleaseInit,
            3 => Self::FiniAccess,
            4 => Self::ReleaseFini,
            5 => Self::ResetAccess,
            6 => Self::InitData,
            200 => Self::LogError,
            201 => Self::ReadyToReset,
            202 => Self::RasPoison,
            other => Self::Unknown(other),
        }
    }

    /// The first dword of its message.
    pub const fn number(self) -> u32 {
        match self {
            Self::InitAccess => 1,
            Self::ReleaseInit => 2,
            Self::FiniAccess => 3,
            Self::ReleaseFini => 4,
            Self::ResetAccess => 5,
            Self::InitData => 6,
            Self::LogError => 200,
            Self::ReadyToReset => 201,
            Self::RasPoison => 202,
            Self::Unknown(number) => number,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InitAccess => "REQ_GPU_INIT_ACCESS",
            Self::ReleaseInit => "REL_GPU_INIT_ACCESS",
            Self::FiniAccess => "REQ_GPU_FINI_ACCESS",
            Self::ReleaseFini => "REL_GPU_FINI_ACCESS",
            Self::ResetAccess => "REQ_GPU_RESET_ACCESS",
            Self::InitData => "REQ_GPU_INIT_DATA",
            Self::LogError => "LOG_VF_ERROR",
            Self::ReadyToReset => "READY_TO_RESET",
            Self::RasPoison => "RAS_POISON",
            Self::Unknown(_) => "unknown",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMED.into_iter().find(|request| request.name() == name)
    }
}

/// A message from the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    /// What.
    pub request: Request,
    /// The three dwords that come with it.
    pub data: [u32; 3],
}

impl Message {
    /// Of the mailbox's dwords.
    pub const fn decode([number, a, b, c]: Dwords) -> Self {
        Self {
            request: Request::decode(number),
            data: [a, b, c],
        }
    }

    /// As it lies in the mailbox.
    pub const fn encode(&self) -> Dwords {
        let [a, b, c] = self.data;
        [self.request.number(), a, b, c]
    }
}

/// What a host answers or tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Notice {
    /// The function is the guest's.
    #[serde(rename = "READY_TO_ACCESS_GPU")]
    Ready,
    /// The function is about to be reset.
    #[serde(rename = "FLR_NOTIFICATION")]
    FlrComing,
    /// It has been reset.
    #[serde(rename = "FLR_NOTIFICATION_CMPL")]
    FlrDone,
    /// No.
    #[serde(rename = "FAIL")]
    Fail,
    /// The function is lost for good. 7.3 knows it, earlier drivers do not.
    #[serde(rename = "UNRECOV_ERR_NOTIFICATION")]
    Unrecoverable,
    /// The data that was asked for is there, in the form of version 1.
    #[serde(rename = "REQ_GPU_INIT_DATA_READY")]
    InitDataReady,
}

impl Notice {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Ready,
        Self::FlrComing,
        Self::FlrDone,
        Self::Fail,
        Self::Unrecoverable,
        Self::InitDataReady,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY_TO_ACCESS_GPU",
            Self::FlrComing => "FLR_NOTIFICATION",
            Self::FlrDone => "FLR_NOTIFICATION_CMPL",
            Self::Fail => "FAIL",
            Self::Unrecoverable => "UNRECOV_ERR_NOTIFICATION",
            Self::InitDataReady => "REQ_GPU_INIT_DATA_READY",
        }
    }

    /// As it lies in the mailbox. The third dword of READY_TO_ACCESS_GPU is the key of the checksum that version 1 of the host's data has;
    /// version 2 has none.
    pub const fn encode(self) -> Dwords {
        const VERSION: u32 = 1;
        match self {
            Self::Ready => [1, 0, 0, 0],
            Self::FlrComing => [2, 0, 0, 0],
            Self::FlrDone => [3, 0, 0, 0],
            Self::Fail => [5, 0, 0, 0],
            Self::Unrecoverable => [17, 0, 0, 0],
            Self::InitDataReady => [7, VERSION, 0, 0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_request_has_a_number_and_a_name_of_its_own() {
        for number in (0..=255).filter(|number| !matches!(number, 1..=6 | 200..=202)) {
            assert_eq!(Request::decode(number), Request::Unknown(number));
        }
        let numbers = [1, 2, 3, 4, 5, 6, 200, 201, 202];
        assert_eq!(numbers.map(Request::decode), Request::NAMED);
        for number in [0, 1, 6, 200, 203, u32::MAX] {
            assert_eq!(Message::decode([number, 1, 2, 3]).encode(), [number, 1, 2, 3]);
        }
        for request in Request::NAMED {
            assert_eq!(Request::decode(request.number()), request);
            assert_eq!(Request::from_name(request.name()), Some(request));
        }
        assert_eq!(Request::from_name("unknown"), None);
    }
}
