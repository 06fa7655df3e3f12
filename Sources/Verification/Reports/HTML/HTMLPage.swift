/// The frame of a self-contained page: no script, nothing loaded from anywhere, and the browser is
/// told so.
package enum HTMLPage {
  /// - Parameters:
  ///   - title: not escaped yet.
  ///   - ingotVersion: that made it.
  ///   - style: class of the page's main part; ours.
  ///   - sections: HTML; empty ones are left out.
  /// - Returns: the page.
  package static func text(
    title: String, ingotVersion: String, style: String, sections: [String]
  ) -> String {
    """
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="generator" content="ingot \(Markup.html(ingotVersion))">
    <title>\(Markup.html(title))</title>
    <style>
    \(HTMLStyle.css)
    </style>
    </head>
    <body>
    <main class="\(style)">
    \(sections.filter { !$0.isEmpty }.joined(separator: "\n"))
    </main>
    </body>
    </html>

    """
  }
}
