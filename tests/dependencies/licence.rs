//! Whether a licence, as packages write it, is satisfied by licences that are allowed.

/// The words of an expression of SPDX; older packages write a slash for OR.
fn tokens(expression: &str) -> Vec<String> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    spaced.split_whitespace().map(str::to_owned).collect()
}

struct Reader<'a> {
    tokens: std::iter::Peekable<std::slice::Iter<'a, String>>,
    allowed: &'a dyn Fn(&str) -> bool,
}

impl Reader<'_> {
    fn takes(&mut self, word: &str) -> bool {
        self.tokens.next_if(|token| *token == word).is_some()
    }

    /// AND binds more tightly than OR. Both sides are always read.
    fn alternatives(&mut self) -> Result<bool, String> {
        let mut satisfied = self.together()?;
        while self.takes("OR") {
            satisfied |= self.together()?;
        }
        Ok(satisfied)
    }

    fn together(&mut self) -> Result<bool, String> {
        let mut satisfied = self.one()?;
        while self.takes("AND") {
            satisfied &= self.one()?;
        }
        Ok(satisfied)
    }

    fn one(&mut self) -> Result<bool, String> {
        if self.takes("(") {
            let satisfied = self.alternatives()?;
            return if self.takes(")") { Ok(satisfied) } else { Err("a parenthesis is not closed".to_owned()) };
        }
        let Some(name) = self.tokens.next() else { return Err("it ends where a licence is expected".to_owned()) };
        if ["AND", "OR", "WITH", ")"].contains(&name.as_str()) {
            return Err(format!("{name} where a licence is expected"));
        }
        if self.takes("WITH") {
            let exception = self.tokens.next().ok_or("WITH what?")?;
            return Ok((self.allowed)(&format!("{name} WITH {exception}")));
        }
        Ok((self.allowed)(name))
    }
}

/// Whether licences that are allowed satisfy the expression.
pub fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> Result<bool, String> {
    let tokens = tokens(expression);
    let mut reader = Reader { tokens: tokens.iter().peekable(), allowed };
    let satisfied = reader.alternatives()?;
    match reader.tokens.next() {
        None => Ok(satisfied),
        Some(token) => Err(format!("{token} is not understood")),
    }
}

#[test]
fn an_expression_is_satisfied_by_what_is_allowed() {
    let allowed = |one: &str| ["MIT", "ISC", "Apache-2.0"].contains(&one);
    for (expression, expected) in [
        ("MIT", Ok(true)),
        ("GPL-3.0-only", Ok(false)),
        ("mit", Ok(false)),
        ("MIT OR GPL-3.0-only", Ok(true)),
        ("GPL-3.0-only/MIT", Ok(true)),
        ("GPL-3.0-only / MIT", Ok(true)),
        ("MIT AND GPL-3.0-only", Ok(false)),
        ("MIT AND ISC", Ok(true)),
        ("GPL-3.0-only OR MIT AND ISC", Ok(true)),
        ("MIT OR ISC AND GPL-3.0-only", Ok(true)),
        ("(MIT OR ISC) AND GPL-3.0-only", Ok(false)),
        ("GPL-3.0-only AND (MIT OR ISC)", Ok(false)),
        ("Apache-2.0 WITH LLVM-exception", Ok(false)),
        ("Apache-2.0 WITH LLVM-exception OR MIT", Ok(true)),
        ("", Err("it ends where a licence is expected")),
        ("MIT OR", Err("it ends where a licence is expected")),
        ("MIT AND OR ISC", Err("OR where a licence is expected")),
        ("(MIT", Err("a parenthesis is not closed")),
        ("MIT)", Err(") is not understood")),
        ("MIT ISC", Err("ISC is not understood")),
        ("MIT WITH", Err("WITH what?")),
    ] {
        assert_eq!(satisfied(expression, &allowed), expected.map_err(str::to_owned), "{expression}");
    }
}
