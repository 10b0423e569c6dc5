//! Characters that a reader cannot see, and that make a text look like another one.

/// Whether a character is invisible or reorders the text around it: control characters, bidirectional controls
/// (Unicode Standard Annex 9), zero-width characters, and the other default ignorable code points.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            0x00AD                      // soft hyphen
            | 0x034F                    // combining grapheme joiner
            | 0x061C                    // Arabic letter mark
            | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x3164 | 0xFFA0 // fillers and vowels that show nothing
            | 0x180B..=0x180F           // Mongolian variation selectors and vowel separator
            | 0x200B..=0x200F           // zero-width space and joiners, direction marks
            | 0x2028..=0x202E           // line and paragraph separators, embeddings and overrides
            | 0x2060..=0x206F           // word joiner, invisible operators, isolates
            | 0xFEFF                    // byte order mark
            | 0xFFF0..=0xFFFB           // interlinear annotations
            | 0xE0000..=0xE0FFF         // tags
        )
}

/// What a text must not contain, for messages.
pub const HIDDEN: &str = "control characters or invisible characters";

/// Whether all letters belong to one script, or to scripts that are written together, such as Japanese (Unicode
/// Technical Standard 39, 5.1). Digits and punctuation belong to every script.
pub fn is_single_script(text: &str) -> bool {
    unicode_security::MixedScript::is_single_script(text)
}

#[cfg(test)]
mod tests {
    use super::{is_hidden, is_single_script};

    #[test]
    fn must_tell_a_name_in_one_script_from_one_that_only_looks_so() {
        for single in ["ci-bot.2", "Größe", "ключ 7", "東京のカギ", ""] {
            assert!(is_single_script(single), "{single}");
        }
        for mixed in ["pаypal", "аdmin", "Ωmega"] {
            assert!(!is_single_script(mixed), "{mixed}");
        }
    }

    #[test]
    fn must_find_what_a_reader_cannot_see() {
        for hidden in ['\0', '\u{1b}', '\u{9b}', '\u{200b}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{e0041}', '\n'] {
            assert!(is_hidden(hidden), "{hidden:?}");
        }
        for shown in ['a', ' ', 'ß', '客', '🦀', '\u{301}', '\u{fe0f}', '\u{a0}'] {
            assert!(!is_hidden(shown), "{shown:?}");
        }
    }
}
