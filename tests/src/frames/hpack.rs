//! As much of HPACK (RFC 7541) as a client needs that refers to nothing.

use anyhow::{Context as _, Result, bail};

/// A header block: each field as a literal that nobody has to remember (§6.2.2), without Huffman's code.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    fields
        .iter()
        .flat_map(|(name, value)| field(name.as_bytes(), value.as_bytes()))
        .collect()
}

/// One field of it, of any bytes.
pub fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        length(text.len(), &mut bytes);
        bytes.extend_from_slice(text);
    }
    bytes
}

/// A number whose first seven bits share a byte with a flag that is not set (§5.1).
fn length(number: usize, bytes: &mut Vec<u8>) {
    const FULL: usize = 127;
    if number < FULL {
        bytes.extend(u8::try_from(number));
        return;
    }
    bytes.push(0x7f);
    let mut rest = number - FULL;
    while rest >= 128 {
        bytes.extend(u8::try_from(rest % 128 + 128));
        rest /= 128;
    }
    bytes.extend(u8::try_from(rest));
}

/// The status that a response's header block begins with.
pub fn status(block: &[u8]) -> Result<u16> {
    // The sizes of a table that nobody uses may come first (§6.3).
    let tables = block.iter().take_while(|byte| **byte & 0xe0 == 0x20).count();
    let block = &block[tables..];
    match block {
        // Fields 8 to 14 of the static table are whole.
        [index @ 0x88..=0x8e, ..] => Ok([200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)]),
        // A literal with the name of field 8, in one of its three forms.
        [0x48 | 0x08 | 0x18, length, text @ ..] => {
            let text = text
                .get(..usize::from(length & 0x7f))
                .context("a short header block")?;
            let digits = if length & 0x80 == 0 {
                text.to_vec()
            } else {
                huffman_digits(text)
            };
            let text = String::from_utf8(digits)?;
            text.parse().with_context(|| format!("a status of {text}"))
        }
        _ => bail!("no status first: {block:?}"),
    }
}

/// Digits in Huffman's code (appendix B): 0, 1 and 2 have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> Vec<u8> {
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut rest = bits.as_str();
    let mut digits = Vec::new();
    while let Some((digit, length)) = first_digit(rest) {
        digits.push(digit);
        rest = &rest[length..];
    }
    digits
}

fn first_digit(bits: &str) -> Option<(u8, usize)> {
    let number = |length: usize| u8::from_str_radix(bits.get(..length)?, 2).ok();
    match (number(5)?, number(6)) {
        (digit @ 0..=2, _) => Some((b'0' + digit, 5)),
        (_, Some(code @ 0b011_001..=0b011_111)) => Some((b'3' + code - 0b011_001, 6)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_each_of_its_forms() -> Result<()> {
        for (block, expected) in [
            (&[0x88][..], 200),
            (&[0x20, 0x8c, 0x61], 400),
            (&[0x08, 3, b'4', b'0', b'1'], 401),
            // 4 is 011010, 0 is 00000, 1 is 00001, and the rest is filled with ones.
            (&[0x48, 0x82, 0b0110_1000, 0b0000_0001], 401),
            // 5 is 011011, 0 is 00000, 3 is 011001.
            (&[0x48, 0x83, 0b0110_1100, 0b0000_1100, 0b1111_1111], 503),
        ] {
            assert_eq!(status(block)?, expected, "{block:?}");
        }
        Ok(())
    }

    #[test]
    fn long_texts_have_long_lengths() {
        assert_eq!(field(b"a", b"bc"), [0, 1, b'a', 2, b'b', b'c']);
        assert_eq!(&field(&[b'x'; 127], b"")[..4], [0, 127, 0, b'x']);
        // 1337 - 127 = 1210 = 9 * 128 + 58
        assert_eq!(&field(&[b'x'; 1337], b"")[..4], [0, 127, 58 + 128, 9]);
    }
}
