//! What the language's type rules forbid and the crate lets pass, and where its evaluation is replaced by our own.

use std::collections::HashMap;

use cel_core::CheckErrorKind;
use cel_core::types::{BinaryOp, CelType, ComprehensionData, Expr, ListElement, MapEntry, Spanned, SpannedExpr};

use super::error::Reason;
use super::functions::{ADDABLE, BOUNDED, HAS, INDEX};

/// What macros call the value that they gather.
const GATHERED: &str = "__result__";

/// Names that the crate takes for types wherever they stand.
const TYPES: [&str; 12] =
    ["bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "optional_type", "string", "type", "uint"];

/// The types of numbers.
pub(super) const NUMBERS: [CelType; 3] = [CelType::Int, CelType::UInt, CelType::Double];

/// Refuses names by which an expression would get at what is not its own.
pub(super) fn own_names(text: &str) -> Result<(), Reason> {
    if text.contains(GATHERED) {
        let name = GATHERED.to_owned();
        return Err(Reason::Mistake(CheckErrorKind::UndeclaredReference { container: String::new(), name }));
    }
    Ok(())
}

/// Checks what stands beside each other, and puts calls of our own functions where the crate's evaluation is wrong.
pub(super) fn prepare(expression: SpannedExpr, types: &HashMap<i64, CelType>) -> Result<SpannedExpr, Reason> {
    Preparation { types, in_macro: false }.expression(expression)
}

struct Preparation<'a> {
    types: &'a HashMap<i64, CelType>,
    /// Whether this is what a macro does with each element.
    in_macro: bool,
}

impl Preparation<'_> {
    fn expression(&self, expression: SpannedExpr) -> Result<SpannedExpr, Reason> {
        let Spanned { id, node, span } = expression;
        let node = match node {
            Expr::Binary { op, left, right } => return self.binary(id, span, op, left, right),
            Expr::Ternary { cond, then_expr, else_expr } => {
                let (then_type, else_type) = (self.of(&then_expr), self.of(&else_expr));
                if !agree(then_type, else_type) {
                    let types = [self.of(&cond), then_type, else_type].map(CelType::clone).to_vec();
                    return Err(Reason::Overload { function: "_?_:_", types });
                }
                Expr::Ternary {
                    cond: self.boxed(cond)?,
                    then_expr: self.boxed(then_expr)?,
                    else_expr: self.boxed(else_expr)?,
                }
            }
            Expr::Index { optional: true, .. } | Expr::Member { optional: true, .. } => {
                return Err(Reason::Optional);
            }
            Expr::Index { expr, index, optional: false } => {
                call(id, INDEX, vec![self.expression(*expr)?, self.expression(*index)?], &span)
            }
            Expr::MemberTestOnly { expr, field } => {
                let field = Spanned::new(id, Expr::String(field), span.clone());
                call(id, HAS, vec![self.expression(*expr)?, field], &span)
            }
            Expr::Member { expr, field, optional } => Expr::Member { expr: self.boxed(expr)?, field, optional },
            Expr::Unary { op, expr } => Expr::Unary { op, expr: self.boxed(expr)? },
            Expr::Call { expr, args } => {
                let args = args.into_iter().map(|arg| self.expression(arg)).collect::<Result<_, _>>()?;
                Expr::Call { expr: self.boxed(expr)?, args }
            }
            Expr::List(elements) => Expr::List(self.elements(elements)?),
            Expr::Map(entries) => Expr::Map(self.entries(entries)?),
            Expr::Comprehension(comprehension) => Expr::Comprehension(self.comprehension(comprehension)?),
            Expr::Struct { .. } => return Err(Reason::Message),
            Expr::Bind { .. } | Expr::Error => return Err(Reason::Unknown),
            Expr::Null
            | Expr::Bool(_)
            | Expr::Int(_)
            | Expr::UInt(_)
            | Expr::Float(_)
            | Expr::String(_)
            | Expr::Bytes(_)
            | Expr::Ident(_)
            | Expr::RootIdent(_) => node,
        };
        Ok(Spanned::new(id, node, span))
    }

    #[expect(clippy::boxed_local, reason = "that is how the expressions hold each other")]
    fn boxed(&self, expression: Box<SpannedExpr>) -> Result<Box<SpannedExpr>, Reason> {
        self.expression(*expression).map(Box::new)
    }

    /// An operator, its sides of types that go together.
    fn binary(
        &self,
        id: i64,
        span: std::ops::Range<usize>,
        op: BinaryOp,
        left: Box<SpannedExpr>,
        right: Box<SpannedExpr>,
    ) -> Result<SpannedExpr, Reason> {
        let (left_type, right_type) = (self.of(&left), self.of(&right));
        let (left, mut right) = (self.boxed(left)?, self.boxed(right)?);
        let fits = match op {
            BinaryOp::Eq | BinaryOp::Ne => agree(left_type, right_type),
            BinaryOp::In => match right_type {
                CelType::List(element) => agree(left_type, element),
                CelType::Map(key, _) => agree(left_type, key),
                _ => true,
            },
            BinaryOp::Add => match (left_type, right_type) {
                (CelType::List(left), CelType::List(right)) => agree(left, right),
                // The crate merges maps.
                (CelType::Map(..), _) | (_, CelType::Map(..)) => false,
                _ => true,
            },
            // Numbers of different types are ordered in macros only: an oddity of cel-go.
            BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
                self.in_macro || !is_number(left_type) || !is_number(right_type) || left_type == right_type
            }
            BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::And | BinaryOp::Or => true,
        };
        if !fits {
            let types = vec![left_type.clone(), right_type.clone()];
            return Err(Reason::Overload { function: operator(op), types });
        }
        let unknown = |kind: &CelType| matches!(kind, CelType::Dyn);
        let wrap_right = op == BinaryOp::Add && unknown(left_type) && unknown(right_type);
        let bounded = matches!(op, BinaryOp::Add | BinaryOp::Sub)
            && matches!(self.types.get(&id), Some(CelType::Duration | CelType::Dyn));
        if wrap_right {
            let (right_id, right_span) = (right.id, right.span.clone());
            right = Box::new(Spanned::new(right_id, call(right_id, ADDABLE, vec![*right], &right_span), right_span));
        }
        let result = Spanned::new(id, Expr::Binary { op, left, right }, span.clone());
        Ok(if bounded { Spanned::new(id, call(id, BOUNDED, vec![result], &span), span) } else { result })
    }

    fn elements(&self, elements: Vec<ListElement>) -> Result<Vec<ListElement>, Reason> {
        let element = |element: ListElement| {
            refuse_optional(element.optional)?;
            Ok(ListElement { expr: self.expression(element.expr)?, optional: false })
        };
        elements.into_iter().map(element).collect()
    }

    fn entries(&self, entries: Vec<MapEntry>) -> Result<Vec<MapEntry>, Reason> {
        let entry = |entry: MapEntry| {
            refuse_optional(entry.optional)?;
            let (key, value) = (self.expression(entry.key)?, self.expression(entry.value)?);
            Ok(MapEntry { key, value, optional: false })
        };
        entries.into_iter().map(entry).collect()
    }

    fn comprehension(&self, comprehension: ComprehensionData) -> Result<ComprehensionData, Reason> {
        let ComprehensionData {
            iter_var,
            iter_var2,
            iter_range,
            accu_var,
            accu_init,
            loop_condition,
            loop_step,
            result,
        } = comprehension;
        if TYPES.contains(&iter_var.as_str()) {
            return Err(Reason::TypeAsVariable(iter_var));
        }
        let each = Self { in_macro: true, ..*self };
        Ok(ComprehensionData {
            iter_var,
            iter_var2,
            iter_range: self.boxed(iter_range)?,
            accu_var,
            accu_init: self.boxed(accu_init)?,
            loop_condition: each.boxed(loop_condition)?,
            loop_step: each.boxed(loop_step)?,
            result: each.boxed(result)?,
        })
    }

    fn of(&self, expression: &SpannedExpr) -> &CelType {
        self.types.get(&expression.id).unwrap_or(&CelType::Dyn)
    }
}

fn refuse_optional(optional: bool) -> Result<(), Reason> {
    if optional {
        return Err(Reason::Optional);
    }
    Ok(())
}

/// A call of one of our own functions, whose names nobody can write.
fn call(id: i64, function: &str, args: Vec<SpannedExpr>, span: &std::ops::Range<usize>) -> Expr {
    Expr::Call { expr: Box::new(Spanned::new(id, Expr::Ident(function.to_owned()), span.clone())), args }
}

fn is_number(kind: &CelType) -> bool {
    NUMBERS.contains(kind)
}

/// Whether values of the two types may be compared: nothing is converted, and what is only known later goes with anything.
fn agree(left: &CelType, right: &CelType) -> bool {
    match (left, right) {
        (CelType::Dyn | CelType::Error | CelType::TypeVar(_) | CelType::TypeParam(_), _)
        | (_, CelType::Dyn | CelType::Error | CelType::TypeVar(_) | CelType::TypeParam(_))
        | (CelType::Type(_), CelType::Type(_))
        | (CelType::Null, CelType::Null | CelType::Duration | CelType::Timestamp)
        | (CelType::Duration | CelType::Timestamp, CelType::Null) => true,
        (CelType::List(left), CelType::List(right)) => agree(left, right),
        (CelType::Map(left_key, left_value), CelType::Map(right_key, right_value)) => {
            agree(left_key, right_key) && agree(left_value, right_value)
        }
        _ => left == right,
    }
}

/// An operator's name as a function.
fn operator(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "_+_",
        BinaryOp::Sub => "_-_",
        BinaryOp::Mul => "_*_",
        BinaryOp::Div => "_/_",
        BinaryOp::Mod => "_%_",
        BinaryOp::Eq => "_==_",
        BinaryOp::Ne => "_!=_",
        BinaryOp::Lt => "_<_",
        BinaryOp::Le => "_<=_",
        BinaryOp::Gt => "_>_",
        BinaryOp::Ge => "_>=_",
        BinaryOp::And => "_&&_",
        BinaryOp::Or => "_||_",
        BinaryOp::In => "@in",
    }
}
