// SPDX-License-Identifier: GPL-2.0-only

//! The attributes of pin-init. Nothing in the stand-in depends on its address, so that values are
//! made as others are, and these attributes only need to be understood.

use proc_macro::{
    Delimiter,
    Group,
    TokenStream,
    TokenTree, //
};

/// Returns the tokens without `#[pin]`.
fn without_pin(tokens: TokenStream) -> TokenStream {
    let mut left = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_hash = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '#');
        let is_pin = |next: &TokenTree| matches!(next, TokenTree::Group(group) if group.stream().to_string() == "pin");
        if is_hash && tokens.peek().is_some_and(is_pin) {
            tokens.next();
            continue;
        }
        left.push(match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                TokenTree::Group(Group::new(Delimiter::Brace, without_pin(group.stream())))
            }
            token => token,
        });
    }
    left.into_iter().collect()
}

/// Marks a struct with fields that are pinned.
#[proc_macro_attribute]
pub fn pin_data(_: TokenStream, item: TokenStream) -> TokenStream {
    without_pin(item)
}

/// Makes `impl PinnedDrop for T` an `impl Drop for T`.
#[proc_macro_attribute]
pub fn pinned_drop(_: TokenStream, item: TokenStream) -> TokenStream {
    let text = item.to_string();
    let text = text.replacen("PinnedDrop", "Drop", 1);
    let text = text.replacen("self : Pin<&mut Self>", "&mut self", 1);
    let text = text.replacen("self: Pin<&mut Self>", "&mut self", 1);
    text.parse().unwrap_or_default()
}
