//! Numbers that the kernel has names for: errors, signals, flags and kinds of its interfaces, interrupts.
//!
//! Scenarios say the name, and may leave out what all names of a list begin with. Programs of the guest take names as well, so that the same words
//! serve on a command line.

/// A list of names for numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Names {
    /// What the list is called where a description refers to it.
    pub called: &'static str,
    /// What one of the numbers is, for messages.
    pub what: &'static str,
    /// What all names begin with in the kernel's headers; it may be left out.
    pub prefix: &'static str,
    /// The names, without that, in the order of the numbers.
    pub list: &'static [(&'static str, u32)],
    /// Each is a bit: a number is several of them, written with `|` between.
    pub bits: bool,
}

/// A word that is neither a name of the list nor a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoName {
    /// Where it begins in the text, in bytes.
    pub start: usize,
    /// The word, without the prefix.
    pub word: String,
}

impl Names {
    /// The number that a text stands for: a name, a number (decimal, hexadecimal with `0x`), or several with `|` between.
    ///
    /// # Errors
    /// [`NoName`] with the first word that stands for nothing.
    pub fn number(&self, text: &str) -> Result<u32, NoName> {
        let mut sum = 0;
        let mut start = 0;
        for part in text.split('|') {
            let word = part.trim();
            sum |= self.one(word).ok_or_else(|| {
                let bare = word.strip_prefix(self.prefix).unwrap_or(word);
                let before = part.len() - part.trim_start().len() + word.len() - bare.len();
                NoName {
                    start: start + before,
                    word: bare.to_owned(),
                }
            })?;
            start += part.len() + 1;
            if !self.bits && start < text.len() {
                return Err(NoName {
                    start: 0,
                    word: text.to_owned(),
                });
            }
        }
        Ok(sum)
    }

    /// How a number is written: by name, as far as it has names.
    pub fn text(&self, number: u32) -> String {
        if !self.bits {
            return self
                .name(number)
                .map_or_else(|| number.to_string(), str::to_owned);
        }
        let mut left = number;
        let mut words: Vec<String> = Vec::new();
        for (name, bit) in self.list {
            if number & bit != 0 {
                left &= !bit;
                words.push((*name).to_owned());
            }
        }
        if left != 0 || words.is_empty() {
            words.push(if left == 0 {
                "0".to_owned()
            } else {
                format!("{left:#x}")
            });
        }
        words.join("|")
    }

    /// The name of a single number.
    pub fn name(&self, number: u32) -> Option<&'static str> {
        self.list
            .iter()
            .find(|(_, other)| *other == number)
            .map(|(name, _)| *name)
    }

    /// All names, without the prefix.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        self.list.iter().map(|(name, _)| *name)
    }

    /// Every text that a number can be written as, with the number: all sums of bits, or all names.
    pub fn texts(&self) -> Vec<(String, u32)> {
        if !self.bits {
            return self
                .list
                .iter()
                .map(|(name, number)| ((*name).to_owned(), *number))
                .collect();
        }
        let sums = self.list.iter().fold(vec![0], |sums: Vec<u32>, (_, bit)| {
            let with = sums.iter().map(|sum| sum | bit);
            let with: Vec<u32> = with.collect();
            sums.into_iter().chain(with).collect()
        });
        sums.into_iter().map(|sum| (self.text(sum), sum)).collect()
    }

    /// A list by what it is called.
    pub fn called(name: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|names| names.called == name)
    }

    fn one(&self, word: &str) -> Option<u32> {
        let bare = word.strip_prefix(self.prefix).unwrap_or(word);
        let name = self.list.iter().find(|(name, _)| *name == bare);
        if let Some((_, number)) = name {
            return Some(*number);
        }
        let word = word.strip_prefix('+').unwrap_or(word);
        match word.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16).ok(),
            None if word.starts_with('+') => None,
            None => word.parse().ok(),
        }
    }
}

/// All lists.
pub const ALL: &[&Names] = &[
    &ERRNO,
    &SIGNAL,
    &CONTEXT_FLAGS,
    &RESET_TYPE,
    &RESET_CAUSE,
    &SMI_EVENT,
    &INTERRUPT_CLIENT,
    &INTERRUPT_SOURCE,
];

/// `AMDGPU_CTX_QUERY2_FLAGS_*` of `AMDGPU_CTX_OP_QUERY_STATE2` (include/uapi/drm/amdgpu_drm.h of 7.3).
pub const CONTEXT_FLAGS: Names = Names {
    called: "context-flags",
    what: "a state of a context (AMDGPU_CTX_QUERY2_FLAGS_*)",
    prefix: "AMDGPU_CTX_QUERY2_FLAGS_",
    list: &[
        ("RESET", 1 << 0),
        ("VRAMLOST", 1 << 1),
        ("GUILTY", 1 << 2),
        ("RAS_CE", 1 << 3),
        ("RAS_UE", 1 << 4),
        ("RESET_IN_PROGRESS", 1 << 5),
    ],
    bits: true,
};

/// What a reset that KFD signals was of (include/uapi/linux/kfd_ioctl.h).
pub const RESET_TYPE: Names = Names {
    called: "reset-type",
    what: "what was reset (KFD_HW_EXCEPTION_*_RESET)",
    prefix: "KFD_HW_EXCEPTION_",
    list: &[("WHOLE_GPU_RESET", 0), ("PER_ENGINE_RESET", 1)],
    bits: false,
};

/// Why, in the same place.
pub const RESET_CAUSE: Names = Names {
    called: "reset-cause",
    what: "why it was reset (KFD_HW_EXCEPTION_*)",
    prefix: "KFD_HW_EXCEPTION_",
    list: &[("GPU_HANG", 0), ("ECC", 1)],
    bits: false,
};

/// `enum kfd_smi_event` (include/uapi/linux/kfd_ioctl.h of 7.3).
pub const SMI_EVENT: Names = Names {
    called: "smi-event",
    what: "an event of KFD's for system management (KFD_SMI_EVENT_*)",
    prefix: "KFD_SMI_EVENT_",
    list: &[
        ("VMFAULT", 1),
        ("THERMAL_THROTTLE", 2),
        ("GPU_PRE_RESET", 3),
        ("GPU_POST_RESET", 4),
        ("MIGRATE_START", 5),
        ("MIGRATE_END", 6),
        ("PAGE_FAULT_START", 7),
        ("PAGE_FAULT_END", 8),
        ("QUEUE_EVICTION", 9),
        ("QUEUE_RESTORE", 10),
        ("UNMAP_FROM_GPU", 11),
        ("PROCESS_START", 12),
        ("PROCESS_END", 13),
        ("ALL_PROCESS", 64),
    ],
    bits: false,
};

/// Who raises an interrupt (drivers/gpu/drm/amd/include/soc15_ih_clientid.h), of those that the device has.
pub const INTERRUPT_CLIENT: Names = Names {
    called: "interrupt-client",
    what: "a client of the interrupt handler (SOC15_IH_CLIENTID_*)",
    prefix: "SOC15_IH_CLIENTID_",
    list: &[
        ("SDMA2_Sienna_Cichlid", 1),
        ("BIF", 3),
        ("SDMA3_Sienna_Cichlid", 5),
        ("SDMA0", 8),
        ("SDMA1", 9),
        ("VMC", 0x12),
        ("GRBM_CP", 0x14),
        ("UTCL2", 0x1b),
    ],
    bits: false,
};

/// What an interrupt is about, by its id in the headers of the block that raises it (drivers/gpu/drm/amd/include/ivsrcid), of those that the device
/// has.
pub const INTERRUPT_SOURCE: Names = Names {
    called: "interrupt-source",
    what: "a source of interrupts (ivsrcid/*.h)",
    prefix: "",
    list: &[
        // vmc/irqsrcs_vmc_1_0.h, and the same number in gfx/irqsrcs_gfx_10_1.h (UTCL2).
        ("VM_FAULT", 0),
        // nbio/irqsrcs_nbif_7_4.h
        ("PF_VF_MSGBUF_VALID", 135),
        ("PF_VF_MSGBUF_ACK", 138),
        // gfx/irqsrcs_gfx_10_1.h
        ("CP_IB2_INTERRUPT_PKT", 178),
        ("CP_EOP_INTERRUPT", 181),
        ("CP_BAD_OPCODE_ERROR", 183),
        // sdma0/irqsrcs_sdma0_5_0.h
        ("SDMA_TRAP", 224),
    ],
    bits: false,
};

/// Signals of x86 (asm/signal.h).
pub const SIGNAL: Names = Names {
    called: "signal",
    what: "a signal",
    prefix: "",
    list: &[
        ("SIGHUP", 1),
        ("SIGINT", 2),
        ("SIGQUIT", 3),
        ("SIGILL", 4),
        ("SIGTRAP", 5),
        ("SIGABRT", 6),
        ("SIGBUS", 7),
        ("SIGFPE", 8),
        ("SIGKILL", 9),
        ("SIGUSR1", 10),
        ("SIGSEGV", 11),
        ("SIGUSR2", 12),
        ("SIGPIPE", 13),
        ("SIGALRM", 14),
        ("SIGTERM", 15),
    ],
    bits: false,
};

/// Error numbers (asm-generic/errno.h and errno-base.h).
pub const ERRNO: Names = Names {
    called: "errno",
    what: "an error number",
    prefix: "",
    list: ERRORS,
    bits: false,
};

#[rustfmt::skip]
const ERRORS: &[(&str, u32)] = &[
    ("EPERM", 1),
    ("ENOENT", 2),
    ("ESRCH", 3),
    ("EINTR", 4),
    ("EIO", 5),
    ("ENXIO", 6),
    ("E2BIG", 7),
    ("ENOEXEC", 8),
    ("EBADF", 9),
    ("ECHILD", 10),
    ("EAGAIN", 11),
    ("ENOMEM", 12),
    ("EACCES", 13),
    ("EFAULT", 14),
    ("ENOTBLK", 15),
    ("EBUSY", 16),
    ("EEXIST", 17),
    ("EXDEV", 18),
    ("ENODEV", 19),
    ("ENOTDIR", 20),
    ("EISDIR", 21),
    ("EINVAL", 22),
    ("ENFILE", 23),
    ("EMFILE", 24),
    ("ENOTTY", 25),
    ("ETXTBSY", 26),
    ("EFBIG", 27),
    ("ENOSPC", 28),
    ("ESPIPE", 29),
    ("EROFS", 30),
    ("EMLINK", 31),
    ("EPIPE", 32),
    ("EDOM", 33),
    ("ERANGE", 34),
    ("EDEADLK", 35),
    ("ENAMETOOLONG", 36),
    ("ENOLCK", 37),
    ("ENOSYS", 38),
    ("ENOTEMPTY", 39),
    ("ELOOP", 40),
    ("ENOMSG", 42),
    ("EIDRM", 43),
    ("ECHRNG", 44),
    ("EL2NSYNC", 45),
    ("EL3HLT", 46),
    ("EL3RST", 47),
    ("ELNRNG", 48),
    ("EUNATCH", 49),
    ("ENOCSI", 50),
    ("EL2HLT", 51),
    ("EBADE", 52),
    ("EBADR", 53),
    ("EXFULL", 54),
    ("ENOANO", 55),
    ("EBADRQC", 56),
    ("EBADSLT", 57),
    ("EBFONT", 59),
    ("ENOSTR", 60),
    ("ENODATA", 61),
    ("ETIME", 62),
    ("ENOSR", 63),
    ("ENONET", 64),
    ("ENOPKG", 65),
    ("EREMOTE", 66),
    ("ENOLINK", 67),
    ("EADV", 68),
    ("ESRMNT", 69),
    ("ECOMM", 70),
    ("EPROTO", 71),
    ("EMULTIHOP", 72),
    ("EDOTDOT", 73),
    ("EBADMSG", 74),
    ("EOVERFLOW", 75),
    ("ENOTUNIQ", 76),
    ("EBADFD", 77),
    ("EREMCHG", 78),
    ("ELIBACC", 79),
    ("ELIBBAD", 80),
    ("ELIBSCN", 81),
    ("ELIBMAX", 82),
    ("ELIBEXEC", 83),
    ("EILSEQ", 84),
    ("ERESTART", 85),
    ("ESTRPIPE", 86),
    ("EUSERS", 87),
    ("ENOTSOCK", 88),
    ("EDESTADDRREQ", 89),
    ("EMSGSIZE", 90),
    ("EPROTOTYPE", 91),
    ("ENOPROTOOPT", 92),
    ("EPROTONOSUPPORT", 93),
    ("ESOCKTNOSUPPORT", 94),
    ("EOPNOTSUPP", 95),
    ("EPFNOSUPPORT", 96),
    ("EAFNOSUPPORT", 97),
    ("EADDRINUSE", 98),
    ("EADDRNOTAVAIL", 99),
    ("ENETDOWN", 100),
    ("ENETUNREACH", 101),
    ("ENETRESET", 102),
    ("ECONNABORTED", 103),
    ("ECONNRESET", 104),
    ("ENOBUFS", 105),
    ("EISCONN", 106),
    ("ENOTCONN", 107),
    ("ESHUTDOWN", 108),
    ("ETOOMANYREFS", 109),
    ("ETIMEDOUT", 110),
    ("ECONNREFUSED", 111),
    ("EHOSTDOWN", 112),
    ("EHOSTUNREACH", 113),
    ("EALREADY", 114),
    ("EINPROGRESS", 115),
    ("ESTALE", 116),
    ("EUCLEAN", 117),
    ("ENOTNAM", 118),
    ("ENAVAIL", 119),
    ("EISNAM", 120),
    ("EREMOTEIO", 121),
    ("EDQUOT", 122),
    ("ENOMEDIUM", 123),
    ("EMEDIUMTYPE", 124),
    ("ECANCELED", 125),
    ("ENOKEY", 126),
    ("EKEYEXPIRED", 127),
    ("EKEYREVOKED", 128),
    ("EKEYREJECTED", 129),
    ("EOWNERDEAD", 130),
    ("ENOTRECOVERABLE", 131),
    ("ERFKILL", 132),
    ("EHWPOISON", 133),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_there_once() {
        for names in ALL {
            assert!(
                names.list.windows(2).all(|pair| pair[0].1 < pair[1].1),
                "{}",
                names.called
            );
            let mut words: Vec<_> = names.words().collect();
            words.sort_unstable();
            assert!(
                words.windows(2).all(|pair| pair[0] != pair[1]),
                "{}",
                names.called
            );
            assert!(!names.bits || names.list.iter().all(|(_, bit)| bit.is_power_of_two()));
            assert_eq!(Names::called(names.called), Some(*names));
        }
    }

    #[test]
    fn a_name_is_a_number_with_and_without_what_all_begin_with() {
        assert_eq!(ERRNO.number("ECANCELED"), Ok(125));
        assert_eq!(ERRNO.number("125"), Ok(125));
        assert_eq!(ERRNO.text(62), "ETIME");
        assert_eq!(ERRNO.text(0), "0");
        for text in [
            "RESET|VRAMLOST",
            "AMDGPU_CTX_QUERY2_FLAGS_VRAMLOST | RESET",
            "0x3",
            "RESET|2",
        ] {
            assert_eq!(CONTEXT_FLAGS.number(text), Ok(3), "{text}");
        }
        assert_eq!(CONTEXT_FLAGS.text(3), "RESET|VRAMLOST");
        assert_eq!(CONTEXT_FLAGS.text(0x44), "GUILTY|0x40");
        assert_eq!(CONTEXT_FLAGS.text(0), "0");
    }

    #[test]
    fn what_is_no_name_is_told_with_its_place() {
        let unknown = |names: Names, text: &str| names.number(text).unwrap_err();
        let wrong = unknown(CONTEXT_FLAGS, "RESET|AMDGPU_CTX_QUERY2_FLAGS_VRAMLOSS");
        assert_eq!((wrong.start, wrong.word.as_str()), (30, "VRAMLOSS"));
        assert_eq!(unknown(ERRNO, "ECANCELLED").word, "ECANCELLED");
        // Only bits can be put together.
        assert_eq!(unknown(ERRNO, "ETIME|ECANCELED").word, "ETIME|ECANCELED");
        for text in ["", "-1", "+", "0x"] {
            assert!(ERRNO.number(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_number_has_one_text_and_all_texts_are_known() {
        assert_eq!(CONTEXT_FLAGS.texts().len(), 64);
        for names in ALL {
            for (text, number) in names.texts() {
                assert_eq!(names.number(&text), Ok(number), "{text}");
            }
        }
    }
}
