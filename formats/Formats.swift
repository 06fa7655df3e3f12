/// Tables about bytes and names that tests read and the binary embeds.
package enum Formats {}
