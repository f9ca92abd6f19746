// Keys for a text in pieces: one tab stop for the whole, the arrow keys go from piece to piece.

export function stepThroughPieces(event: KeyboardEvent & { currentTarget: HTMLElement }): void {
  if (event.key !== 'ArrowRight' && event.key !== 'ArrowLeft') return;
  event.preventDefault();
  const siblings = [...(event.currentTarget.parentElement?.querySelectorAll('button') ?? [])];
  const at = siblings.indexOf(event.currentTarget as HTMLButtonElement);
  siblings[at + (event.key === 'ArrowRight' ? 1 : -1)]?.focus();
}
