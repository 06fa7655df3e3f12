/// A piece of a text on its way to tokens.
enum Fragment: Equatable {
  case text(Range<Int>)
  case token(Int32)
}
