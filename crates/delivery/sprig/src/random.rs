//! Chance: every bit of it comes from the host.

use std::convert::Infallible;

use coracle_gotemplate::{Context, Function, Type, Value};
use rand::{TryCryptoRng, TryRng};

use crate::{
    args::{Result, fail, int, text},
    encoding::BASE64,
};

const I: &[Type] = &[Type::Int];

pub(crate) const TABLE: &[Function] = &[
    Function::new("randAlphaNum", I, |context, a| text_of(context, int(&a[0]), |char| char.is_ascii_alphanumeric())),
    Function::new("randAlpha", I, |context, a| text_of(context, int(&a[0]), |char| char.is_ascii_alphabetic())),
    Function::new("randNumeric", I, |context, a| text_of(context, int(&a[0]), |char| char.is_ascii_digit())),
    Function::new("randAscii", I, |context, a| text_of(context, int(&a[0]), |char| matches!(char, ' '..='~'))),
    Function::new("randBytes", I, |context, a| {
        let Ok(count) = usize::try_from(int(&a[0])) else { return fail("runtime error: makeslice: len out of range") };
        check_size(count)?;
        let mut buffer = vec![0; count];
        context.host.random(&mut buffer);
        Ok(BASE64.encode(&buffer).into())
    }),
    Function::new("randInt", &[Type::Int, Type::Int], |context, a| {
        let (least, beyond) = (int(&a[0]), int(&a[1]));
        match beyond.wrapping_sub(least) {
            span if span > 0 => Ok(Value::Int(least + below(context, span.unsigned_abs()).cast_signed())),
            _ => fail("invalid argument to Intn"),
        }
    }),
    Function::new("shuffle", &[Type::String], |context, a| {
        let mut chars: Vec<char> = text(&a[0]).chars().collect();
        for index in (1..chars.len()).rev() {
            let other = below(context, index as u64 + 1) as usize;
            chars.swap(index, other);
        }
        Ok(chars.into_iter().collect::<String>().into())
    }),
    Function::new("uuidv4", &[], |context, _| {
        let mut bytes = [0; 16];
        context.host.random(&mut bytes);
        bytes[6] = bytes[6] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        Ok(parts.join("-").into())
    }),
];

fn check_size(count: usize) -> Result<()> {
    if count > crate::LARGEST_TEXT_BYTES {
        return fail(format!("more than {} random bytes", crate::LARGEST_TEXT_BYTES));
    }
    Ok(())
}

fn text_of(context: &mut Context<'_>, count: i64, belongs: impl Fn(char) -> bool) -> Result {
    let count = usize::try_from(count).unwrap_or(0);
    check_size(count)?;
    let alphabet: Vec<char> = (0u8..128).map(char::from).filter(|char| belongs(*char)).collect();
    let pick = |context: &mut Context<'_>| alphabet[below(context, alphabet.len() as u64) as usize];
    Ok((0..count).map(|_| pick(context)).collect::<String>().into())
}

/// A number below `limit`, each as likely as the others.
fn below(context: &mut Context<'_>, limit: u64) -> u64 {
    let fair = u64::MAX - u64::MAX % limit;
    loop {
        let mut bytes = [0; 8];
        context.host.random(&mut bytes);
        let number = u64::from_le_bytes(bytes);
        if number < fair {
            return number % limit;
        }
    }
}

/// The host's chance for libraries that want a generator.
pub(crate) struct HostRandom<'a, 'b>(pub(crate) &'a mut Context<'b>);

impl TryRng for HostRandom<'_, '_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> std::result::Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.host.random(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> std::result::Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.host.random(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> std::result::Result<(), Infallible> {
        self.0.host.random(buffer);
        Ok(())
    }
}

impl TryCryptoRng for HostRandom<'_, '_> {}
