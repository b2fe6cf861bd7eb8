//! Texts as they are compared.

use unicase::UniCase;
use unicode_normalization::UnicodeNormalization;

/// A text as it is compared: trimmed, without case and without the difference between forms of a
/// letter (Unicode's compatibility caseless matching, D146, in composed form).
///
/// Folding is not lower case: `Straße` and `STRASSE` are one text, and a letter folds alike
/// wherever it stands, so that a beginning stays a beginning.
pub fn fold(text: &str) -> String {
    // Folding can take letters apart and normalising can bring out others that fold, once each.
    let decomposed: String = text.nfd().collect();
    let once: String = folded(&decomposed).nfkd().collect();
    let twice: String = folded(&once).nfkc().collect();
    twice.trim().to_owned()
}

fn folded(text: &str) -> String {
    UniCase::unicode(text).to_folded_case()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_and_forms_of_a_letter_do_not_matter() {
        for (a, b) in [
            ("  Ｈanako ", "HANAKO"),
            ("Straße", "STRASSE"),
            ("straẞe", "strasse"),
            ("E\u{301}mile", "\u{e9}MILE"),
            ("ﾊﾅｺ", "ハナコ"),
            ("ΟΔΥΣΣΕΥΣ", "Οδυσσευς"),
            ("ﬁn", "FIN"),
            ("\u{212a}", "k"),
        ] {
            assert_eq!(fold(a), fold(b), "{a}");
        }
        assert!(fold("ΟΔΥΣΣΕΥΣ").starts_with(&fold("ΟΔΥΣ")), "no final sigma in the middle");
    }

    #[test]
    fn letters_that_only_look_alike_stay_apart() {
        for (a, b) in [("ı", "i"), ("a", "а"), ("o", "0"), ("e", "é")] {
            assert_ne!(fold(a), fold(b), "{a}");
        }
    }

    proptest! {
        #[test]
        fn upper_case_lower_case_and_folding_again_change_nothing(text in "\\PC{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(&fold(&once), &once);
            // The dotted capital I and the dotless small one have a partner in Turkish only.
            if !text.contains(['İ', 'ı']) {
                prop_assert_eq!(fold(&text.to_lowercase()), once);
            }
        }
    }
}
