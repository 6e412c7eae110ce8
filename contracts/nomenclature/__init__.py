"""What optics is claimed by: codes, categories, renewals and prescriptions, judged by tables.

Everything here is a pure function of a table, codes, integers and days that are handed in: cents,
hundredths of a dioptre, years of age. It is used off the chain, by the vault and by the payer.
"""
