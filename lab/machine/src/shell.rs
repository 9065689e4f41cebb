//! Words for a shell.

/// A word as a POSIX shell has to be given it.
pub fn word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Words as a POSIX shell has to be given them.
pub fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(word("a=b"), "a=b");
        assert_eq!(word("it's"), r"'it'\''s'");
    }

    #[test]
    fn a_shell_gives_back_the_words_that_it_got() {
        let given = ["", "a b", "it's", "{\"a\":\"b\"}", "$HOME `x` \\ * ~ ! # \n", "ü"];
        let script = format!("printf '%s\\0' {}", words(given));
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.split_terminator('\0').collect::<Vec<_>>(), given);
    }
}
