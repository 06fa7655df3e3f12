/// A piece of a text on its way to tokens.
package enum Fragment: Equatable {
  case text(Range<Int>)
  case token(Int32)
}
