/// The look of the page: light and dark, from a phone to a wide screen, without any resource.
package enum HTMLStyle {
  package static let css = """
    :root {
      color-scheme: light dark;
      --paper: #f5f4f0; --card: #fff; --ink: #1b2227; --soft: #566069; --line: #dcdad3;
      --tone: #2f6690; --tone-soft: #c9dbe8; --good: #17683f; --good-paper: #e3f1e8;
      --bad: #a52a1a; --bad-paper: #fae7e3; --mark: #fbe9b4;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --paper: #12171b; --card: #1a2126; --ink: #e5e9eb; --soft: #9eabb4; --line: #303a41;
        --tone: #86b8dc; --tone-soft: #2c4a60; --good: #74cf9f; --good-paper: #16311f;
        --bad: #f5958a; --bad-paper: #3d1c18; --mark: #5a4a12;
      }
    }
    * { box-sizing: border-box; }
    body {
      margin: 0; background: var(--paper); color: var(--ink);
      font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
      font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%;
    }
    main { max-width: 70rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
    h1, h2 { line-height: 1.2; margin: 0; text-wrap: balance; }
    h1 { font-size: clamp(1.9rem, 1.3rem + 2.4vw, 2.9rem); letter-spacing: -0.02em; }
    h2 { font-size: 1.15rem; }
    p { margin: 0.35rem 0 0; }
    code, .name, .text { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 0.86em; }
    code, .name, .long { overflow-wrap: anywhere; }
    .text { white-space: pre-wrap; overflow-wrap: anywhere; }
    .small .text { background: var(--paper); border-radius: 3px; padding: 0.05em 0.2em; }
    th.name, td.name { min-width: 11.5rem; }
    .finding { min-width: 14rem; }
    .soft { color: var(--soft); }
    .small { font-size: 0.86rem; }
    .good { color: var(--good); }
    .bad { color: var(--bad); }
    .eyebrow {
      font-size: 0.78rem; font-weight: 600; letter-spacing: 0.09em; text-transform: uppercase;
      color: var(--soft); margin: 0 0 0.6rem;
    }
    header { padding: 0 0 1.75rem; }
    .verdict { display: flex; gap: 0.9rem; align-items: center; }
    .sign {
      flex: none; width: 1.45em; height: 1.45em; border-radius: 50%; display: grid;
      place-items: center; font-size: clamp(1.5rem, 1.1rem + 1.6vw, 2.1rem); font-weight: 700;
    }
    .passed .sign { background: var(--good-paper); color: var(--good); }
    .failed .sign { background: var(--bad-paper); color: var(--bad); }
    .measured .sign { background: var(--tone-soft); color: var(--ink); }
    .reason { font-size: 1.1rem; margin-top: 0.8rem; max-width: 60ch; }
    .pair { margin-top: 0.8rem; }
    .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr)); gap: 0.75rem; }
    .card, .tile { background: var(--card); border: 1px solid var(--line); border-radius: 12px; min-width: 0; }
    .tile { padding: 0.85rem 1rem 0.9rem; }
    .tile dt { color: var(--soft); font-size: 0.84rem; }
    .tile dd { margin: 0.1rem 0 0; font-size: 1.4rem; font-weight: 600; letter-spacing: -0.01em; }
    .tile dd + dd { font-size: 0.84rem; font-weight: 400; color: var(--soft); letter-spacing: 0; margin: 0; }
    .cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 29rem), 1fr)); gap: 1rem; }
    .card { padding: 1.15rem 1.25rem 1.25rem; margin-top: 1rem; }
    .cards .card { margin-top: 0; }
    .cards { margin-top: 1rem; }
    .scroll { overflow-x: auto; margin-top: 0.8rem; }
    .scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--tone); outline-offset: 3px; border-radius: 4px; }
    table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
    th, td { text-align: left; padding: 0.42rem 0.9rem 0.42rem 0; border-top: 1px solid var(--line); vertical-align: top; }
    thead th { border-top: 0; color: var(--soft); font-weight: 500; font-size: 0.84rem; white-space: nowrap; }
    tbody th { font-weight: 500; }
    .number { text-align: right; white-space: nowrap; }
    .limit { text-align: right; }
    td:last-child, th:last-child { padding-right: 0; }
    .status { font-weight: 600; white-space: nowrap; }
    .advice td { border-top: 0; padding-top: 0; }
    details { margin-top: 0.9rem; }
    summary { cursor: pointer; color: var(--tone); font-size: 0.92rem; }
    svg { display: block; width: 100%; max-width: 40rem; margin: 0 auto; height: auto; overflow: visible; }
    svg text { font: 12px system-ui, sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
    svg .label { fill: var(--ink); font-weight: 600; }
    .axis { stroke: var(--line); stroke-width: 1; }
    .bar { fill: var(--tone-soft); stroke: var(--tone); stroke-width: 0.75; }
    .bar.begins { fill: var(--tone); }
    .broken { fill: var(--bad-paper); stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 3 2; }
    .marker { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 4 3; }
    .dot { fill: var(--tone); fill-opacity: 0.45; stroke: var(--tone); stroke-width: 0.6; }
    .found { fill: none; stroke: var(--bad); stroke-width: 2.2; }
    .explained { stroke: var(--ink); stroke-width: 1.6; }
    .hit { fill: transparent; }
    ol.tokens { list-style: none; margin: 0.4rem 0 0; padding: 0; }
    ol.tokens li { border-top: 1px solid var(--line); padding: 0.7rem 0; }
    ol.tokens li:first-child { border-top: 0; }
    mark { background: var(--mark); color: inherit; border-radius: 3px; padding: 0.05em 0.2em; font-weight: 600; }
    ul.plain { margin: 0.5rem 0 0; padding-left: 1.2rem; }
    .hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
    footer { margin-top: 1.5rem; }
    @media (max-width: 34rem) {
      main { padding: 1.5rem 0.9rem 3rem; }
      .card { padding: 1rem; }
      th, td { padding-right: 0.55rem; }
      table { font-size: 0.86rem; }
      .spare { display: none; }
      .stacked tr, .stacked th, .stacked td { display: block; padding: 0; border: 0; }
      .stacked tr { border-top: 1px solid var(--line); padding: 0.5rem 0; }
      .stacked th { color: var(--soft); }
      svg text { font-size: 15px; }
      .tiles { grid-template-columns: 1fr 1fr; gap: 0.6rem; }
      .tile { padding: 0.7rem 0.8rem; }
      .tile dd { font-size: 1.2rem; }
    }
    @media print { body { background: none; } .card, .tile { break-inside: avoid; } }
    """
}
